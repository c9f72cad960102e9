"""Unicode 16.0.0 classes as runs: a hexadecimal length and a class letter.

o other, u upper or title case, l lower case, x other letter, m mark, n number, s space.
Written by tools/generate_unicode_tables.py: do not edit.
"""

from __future__ import annotations

UNICODE_VERSION = "16.0.0"
RUNS = """
9o 5s 12o 1s fo an 7o 1au 6o 1al ao 1s 1ao 1s 9o 1x 7o 2n 1o 1l 3o 1n 1x 1o 3n 1o 17u 1o 7u 18l
1o 8l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 2l 1u 1l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 2l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 2u 1l 1u 1l 1u 3l 2u 1l
1u 1l 2u 1l 3u 2l 4u 1l 2u 1l 3u 3l 2u 1l 2u 1l 1u 1l 1u 1l 2u 1l 1u 2l 1u 1l 2u 1l 3u 1l 1u 1l
2u 2l 1x 1u 3l 4x 2u 1l 2u 1l 2u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 2l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 2l 2u 1l 1u 1l 3u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 7l 2u 1l 2u 2l 1u 1l 4u 1l 1u 1l 1u 1l 1u 1l 1u 45l 1x
1bl 12x 4o cx eo 5x 7o 1x 1o 1x 11o 70m 1u 1l 1u 1l 1x 1o 1u 1l 2o 1x 3l 1o 1u 6o 1u 1o 3u 1o 1u
1o 2u 1l 11u 1o 9u 23l 1u 2l 3u 3l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l
1u 1l 1u 5l 1u 1l 1o 1u 1l 2u 2l 33u 30l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1o 7m 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 2u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 2l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1o 26u 2o 1x 6o 29l 8o 2dm 1o
1m 1o 2m 1o 2m 1o 1m 8o 1bx 4o 4x 1do bm 5o 2bx 15m an 4o 2x 1m 63x 1o 1x 7m 2o 6m 2x 2m 1o 4m
2x an 3x 2o 1x 10o 1x 1m 1ex 1bm 2o 59x bm 1x eo an 21x 9m 2x 4o 1x 2o 1m 2o 16x 4m 1x 9m 1x 3m
1x 5m 12o 19x 3m 4o bx 5o 18x 1o 6x 8o 9m 2ax 18m 1o 21m 36x 3m 1x 12m 1x 7m ax 2m 2o an 1o 10x
3m 1o 8x 2o 2x 2o 16x 1o 7x 1o 1x 3o 4x 2o 1m 1x 7m 2o 2m 2o 3m 1x 8o 1m 4o 2x 1o 3x 2m 2o an 2x
2o 6n 2o 1x 1o 1m 2o 3m 1o 6x 4o 2x 2o 16x 1o 7x 1o 2x 1o 2x 1o 2x 2o 1m 1o 5m 4o 2m 2o 3m 3o 1m
7o 4x 1o 1x 7o an 2m 3x 1m bo 3m 1o 9x 1o 3x 1o 16x 1o 7x 1o 2x 1o 5x 2o 1m 1x 8m 1o 3m 1o 3m 2o
1x fo 2x 2m 2o an 9o 1x 6m 1o 3m 1o 8x 2o 2x 2o 16x 1o 7x 1o 2x 1o 5x 2o 1m 1x 7m 2o 2m 2o 3m 7o
3m 4o 2x 1o 3x 2m 2o an 1o 1x 6n ao 1m 1x 1o 6x 3o 3x 1o 4x 3o 2x 1o 1x 1o 2x 3o 2x 3o 3x 3o cx
4o 5m 3o 3m 1o 4m 2o 1x 6o 1m eo dn do 5m 8x 1o 3x 1o 17x 1o 10x 2o 1m 1x 7m 1o 3m 1o 4m 7o 2m
1o 3x 2o 1x 2o 2x 2m 2o an 8o 7n 1o 1x 3m 1o 8x 1o 3x 1o 17x 1o ax 1o 5x 2o 1m 1x 7m 1o 3m 1o 4m
7o 2m 6o 2x 1o 2x 2m 2o an 1o 2x 1m co 4m 9x 1o 3x 1o 29x 2m 1x 7m 1o 3m 1o 4m 1x 5o 3x 1m 7n 3x
2m 2o 13n 1o 6x 1o 3m 1o 12x 3o 18x 1o 9x 1o 1x 2o 7x 3o 1m 4o 6m 1o 1m 1o 8m 6o an 2o 2m do 30x
1m 2x 7m 5o 7x 8m 1o an 27o 2x 1o 1x 1o 5x 1o 18x 1o 1x 1o ax 1m 2x 9m 1x 2o 5x 1o 1x 1o 7m 1o
an 2o 4x 20o 1x 17o 2m 6o 14n 1o 1m 1o 1m 1o 1m 4o 2m 8x 1o 24x 4o 14m 1o 2m 5x bm 1o 24m 9o 1m
39o 2bx 14m 1x an 6o 6x 4m 4x 3m 1x 3m 2x 7m 3x 4m dx cm 1x 1m an 4m 2o 26u 1o 1u 5o 1u 2o 2bl
1o 1x 3l 149x 1o 4x 2o 7x 1o 1x 1o 4x 2o 29x 1o 4x 2o 21x 1o 4x 2o 7x 1o 1x 1o 4x 2o fx 1o 39x
1o 4x 2o 43x 2o 3m 9o 14n 3o 10x 10o 56u 2o 6l 3o 26cx 2o 11x 1s 1ax 5o 4bx 3o 3n 8x 7o 12x 4m
9o 13x 3m bo 12x 2m co dx 1o 3x 1o 2m co 34x 20m 3o 1x 4o 1x 1m 2o an 6o an 11o 3m 1o 1m an 6o
59x 7o 5x 2m 22x 1m 1x 5o 46x ao 1fx 1o cm 4o cm ao an 1ex 2o 5x bo 2cx 4o 1ax 6o bn 25o 17x 5m
4o 35x am 1o 1dm 2o 1m an 6o an do 1x 8o 1fm 31o 5m 2fx 11m 8x 3o an 11o 9m co 3m 1ex dm 2x an
2cx em co 24x 14m 8o an 3o 3x an 24x 2o 9l 1u 1l 5o 2bu 2o 3u 10o 3m 1o 15m 4x 1m 6x 1m 2x 3m 1x
5o 2cl 3fx dl 1x 22l 25x 40m 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 9l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l
1u 9l 8u 6l 2o 6u 2o 8l 8u 8l 8u 6l 2o 6u 2o 8l 1o 1u 1o 1u 1o 1u 1o 1u 8l 8u el 2o 8l 8u 8l 8u
8l 8u 5l 1o 2l 5u 1o 1l 3o 3l 1o 2l 5u 3o 4l 2o 2l 4u 4o 8l 5u 5o 3l 1o 2l 5u 3o bs 1do 2s 5o 1s
2fo 1s 10o 1n 1x 2o 6n 5o 1x an 6o dx 33o 21m 11o 1u 4o 1u 2o 1l 3u 2l 3u 1l 1o 1u 3o 5u 6o 1u
1o 1u 1o 1u 1o 4u 1o 1l 4u 1l 4x 1l 2o 2l 2u 5o 1u 4l 4o 1l 1o 33n 1u 1l 5n 2d6o 3cn 4eo 16n
276o 1en 46co 30u 30l 1u 1l 3u 2l 1u 1l 1u 1l 1u 1l 4u 1l 1u 2l 1u 6l 2x 3u 1l 1u 1l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 2l 6o 1u 1l 1u
1l 3m 1u 1l 9o 1n 2o 26l 1o 1l 5o 1l 2o 38x 7o 1x fo 1m 17x 9o 7x 1o 7x 1o 7x 1o 7x 1o 7x 1o 7x
1o 7x 1o 7x 1o 20m 2fo 1x 1d0o 1s 4o 2x 1n 19o 9n 6m 1o 5x 2o 3n 2x 4o 56x 2o 2m 2o 3x 1o 5ax 1o
4x 5o 2bx 1o 5ex 3o 4n ao 20x 30o 10x 20o an 1eo 8n 1o fn 20o an 27o fn 140o 19c0x 40o 568dx 43o
2ex 2o 10dx 3o 10x an 2x 14o 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1x 4m 1o am 1o 1x 1u 1l
1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 2x 2m 46x an 2m
25o 9x 2o 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 3l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u
1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u
1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1x 8l 1u 1l 1u 1l 2u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1x
2o 1u 1l 1u 1l 1x 1u 1l 1u 3l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 5u 1l
5u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 1u 1l 4u 1l 1u 1l 2u 1l 2o 1u 1l 1o 1l 1o 1l 1u 1l 1u
1l 1u 1l 1u 15o 3x 1u 1l 3x 1l 7x 1m 3x 1m 4x 1m 17x 5m 4o 1m 3o 6n ao 34x co 2m 32x 12m ao an
6o 12m 6x 3o 1x 1o 2x 1m an 1cx 8m 2o 17x dm co 1dx 3o 4m 2fx em eo 1x an 6o 5x 1m ax an 5x 1o
29x em 9o 3x 1m 8x 2m 2o an 6o 17x 3o 1x 3m 32x 1m 1x 3m 2x 2m 5x 2m 1x 1m 1x 18o 3x 2o bx 5m 2o
3x 2m ao 6x 2o 6x 2o 6x 9o 7x 1o 7x 1o 2bl 1o 4x 9l 1x 6o 50l 23x 8m 1o 2m 2o an 6o 2ba4x co 17x
4o 31x 2104o 16ex 2o 6ax 26o 7l co 5l 5o 1x 1m ax 1o dx 1o 5x 1o 1x 1o 2x 1o 2x 1o 6cx 21o 16bx
12o 40x 2o 36x 28o cx 4o 10m 10o 10m 40o 5x 1o 87x 13o an 7o 1au 6o 1al bo 59x 3o 6x 2o 6x 2o 6x
2o 3x 23o cx 1o 1ax 1o 13x 1o 2x 1o fx 2o ex 22o 7bx co 2dn co 39n 11o 2n 71o 1m 82o 1dx 3o 31x
fo 1m 1bn 4o 20x 4n 9o 14x 1n 8x 1n 5o 26x 5m 5o 1ex 2o 24x 4o 8x 1o 5n 2ao 28u 28l 4ex 2o an 6o
24u 4o 24l 4o 28x 8o 34x co bu 1o fu 1o 7u 1o 2u 1o bl 1o fl 1o 7l 1o 2l 3o 34x co 137x 9o 16x
ao 8x 18o 6x 1o 2ax 1o 9x 45o 6x 2o 1x 1o 2cx 1o 2x 3o 1x 2o 17x 2o 8n 17x 2o 7n 1fx 8o 9n 30o
13x 1o 2x 5o 5n 16x 6n 4o 1ax 46o 38x 4o 2n 2x 10n 2o 2en 1x 3m 1o 2m 5o 4m 4x 1o 3x 1o 1dx 2o
3m 4o 1m 9n 17o 1dx 2n 1o 1dx 3n 20o 8x 1o 1cx 2m 4o 5n 10o 36x ao 16x 2o 8n 13x 5o 8n 12x 17o
7n 50o 49x 37o 33u do 33l 7o 6n 24x 4m 8o an 6o an 6x 16u 3o 5m 1o 1x 16l dao 1fn 1o 2ax 1o 2m
3o 2x 10o 3x 37o 4m 1dx an 1x 8o 16x bm 4n 1bo 12x 4m 2ao 15x 7n 14o 17x 9o 3m 35x fm bo 1en 1m
2x 2m 1x 9o 4m 2dx bm 7o 1m do 19x 7o an 6o 3m 24x em 1o an 4o 1x 2m 1x 8o 23x 1m 2o 1x 9o 3m
30x em 4x 4o 4m 1o 2m an 1x 1o 1x 4o 14n bo 12x 1o 19x cm 6o 1m 2x 1m 3eo 7x 1o 1x 1o 4x 1o fx
1o ax 7o 2fx cm 5o an 6o 4m 1o 8x 2o 2x 2o 16x 1o 7x 1o 2x 1o 5x 1o 2m 1x 7m 2o 2m 2o 3m 2o 1x
6o 1m 5o 5x 2m 2o 7m 3o 5m bo ax 1o 1x 2o 1x 1o 26x 1o 1x 9m 1o 1m 2o 1m 1o 4m 1o 5m 1x 1m 1x do
2m 1do 35x 12m 4x 5o an 4o 1m 3x 1eo 30x 14m 2x 1o 1x 8o an a6o 2fx 7m 2o 9m 17o 4x 2m 22o 30x
11m 3o 1x bo an 26o 2bx dm 1x 7o an 6o 14n 1co 1bx 2o fm 4o cn 4o 7x b9o 2cx fm 65o 20u 20l 13n
co 8x 2o 1x 2o 8x 1o 2x 1o 18x 6m 1o 2m 2o 4m 1x 1m 1x 2m co an 46o 8x 2o 27x 7m 2o 7m 1x 1o 1x
1m 1bo 1x am 28x 7m 1x 4m 8o 1m 8o 1x bm 2ex 10m 3o 1x 12o 49x c7o 21x fo an 6o 9x 1o 25x 8m 1o
8m 1x fo 1dn 5o 1ex 2o 16m 1o em 49o 7x 1o 2x 1o 26x 6m 3o 1m 1o 2m 1o 7m 1x 1m 8o an 6o 6x 1o
2x 1o 20x 5m 1o 2m 1o 5m 1x 7o an 136o 13x 4m 9o 2m 1x 1m dx 1o 22x 7m 3o 5m do an 1m 55o 1x fo
15n 2bo 39ax 66o 6fn 11o c4x a4co 61x fo 430x 10o 1m 6x fm ao f9bx 5o 247x 1ab9o 1ex 12m an 6c6o
239x 7o 1fx 1o an 6o 4fx 1o an 6o 1ex 2o 5m bo 30x 7m 9o 4x co an 1o 7n 1o 15x 5o 13x 1b0o 2dx
3o an c6o 20u 20l 17n 69o 4bx 4o 1m 1x 37m 7o 4m dx 40o 2x 1o 1x 1m bo 2m eo 17f8x 8o 4d6x 29o
ax 22e7o 4x 1o 7x 1o 2x 1o 123x fo 1x 1do 3x 2o 1x eo 4x 8o 18cx 904o 6bx 5o dx 3o 9x 7o ax 3o
2m 1051o an 206o 2em 2o 17m 21eo 5m 3o 6m 8o 8m 2o 7m 1eo 4m 94o 3m 7bo 14n co 14n 6co 19n 87o
1au 1al 1au 7l 1o 12l 1au 1al 1u 1o 2u 2o 1u 2o 2u 2o 4u 1o 8u 4l 1o 1l 1o 7l 1o bl 1au 1al 2u
1o 4u 2o 8u 1o 7u 1o 1al 2u 1o 4u 1o 5u 1o 1u 3o 7u 1o 1al 1au 1al 1au 1al 1au 1al 1au 1al 1au
1al 1au 1cl 2o 19u 1o 19l 1o 6l 19u 1o 19l 1o 6l 19u 1o 19l 1o 6l 19u 1o 19l 1o 6l 19u 1o 19l 1o
6l 1u 1l 2o 32n 200o 37m 4o 32m 8o 1m eo 1m 16o 5m 1o fm 450o al 1x 14l 6o 6l d5o 7m 1o 11m 2o
7m 1o 2m 1o 5m 5o 3ex 21o 1m 70o 2dx 3o 7m 7x 2o an 4o 1x 141o 1ex 1m 11o 2cx 4m an 1d6o 1cx 4m
an d6o 1ex 2m 1x an 1e5o 7x 1o 4x 1o 2x 1o fx 1o c5x 2o 9n 7m 29o 22u 22l 7m 1x 4o an 317o 3bn
1o 3n 1o 4n 4co 2dn 1o fn c2o 4x 1o 1bx 1o 2x 1o 1x 2o 1x 1o ax 1o 4x 1o 1x 1o 1x 6o 1x 4o 1x 1o
1x 1o 1x 1o 3x 1o 2x 1o 1x 2o 1x 1o 1x 1o 1x 1o 1x 1o 1x 1o 2x 1o 1x 2o 4x 1o 7x 1o 4x 1o 4x 1o
1x 1o ax 1o 11x 5o 3x 1o 5x 1o 11x 244o dn ae3o an 406o a6e0x 20o 103ax 6o dex 2o 1682x eo 1d31x
fo 26ex 9a2o 21ex 5e2o 134bx 5o 1060x add50o f0m 2fe10o
"""
