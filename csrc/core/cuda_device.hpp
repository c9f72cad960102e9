// Which device a thread's calls go to, and what the driver and this build have to say. Includes
// nothing of CUDA; core/cuda_device.cu has the bodies.
#pragma once

#include "core/cuda.hpp"

namespace tokfrag {

// The device that this thread's calls go to.
int current_cuda_device();
void set_cuda_device(int device);

// Throws unless the driver is new enough, the device is there, and these kernels hold code for it.
// Leaves the current device as it was.
void check_cuda_device(int device);

// True if the device adds doubles at less than an eighth of the rate of floats, as T4, L4 and all
// GeForce cards do: 1/32 or 1/64.
bool adds_doubles_slowly(int device);

// The newest CUDA that the driver knows, as 1000 * major + 10 * minor; 0 without a driver.
int cuda_driver_version();

// The CUDA that this module was built with, likewise.
int cuda_toolkit_version();

// For a scope, calls go to `device`; then to where they went before. All runtimes of a process
// share the thread's current context, so a device left behind would be torch's current one too.
class OnDevice {
 public:
  explicit OnDevice(int device) : device_(device), before_(current_cuda_device()) {
    if (before_ != device_) set_cuda_device(device_);
  }
  ~OnDevice() {
    if (before_ == device_) return;
    try {
      set_cuda_device(before_);
    } catch (const CudaError&) {  // NOLINT: an error in flight says more, and so will the next call
    }
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  int device_;
  int before_;
};

}  // namespace tokfrag
