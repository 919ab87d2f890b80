/* Included before each file of QuickJS. The system's headers come first, since what is changed
   below is not for them. */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fenv.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Where QuickJS sees WASI it knows no limit of the stack: a program that recurses too deep would end
   the whole call instead of getting a RangeError. */
#undef __wasi__
/* How it learns the size of what was allocated, which its garbage collector counts. */
#define __ANDROID__ 1

/* Strings are compared with it, and WASI's libc goes byte by byte. */
static inline int compare_by_words(const void *left, const void *right, size_t count) {
  const unsigned char *a = left, *b = right;
  for (; count >= sizeof(uint64_t); count -= sizeof(uint64_t)) {
    uint64_t x, y;
    __builtin_memcpy(&x, a, sizeof x);
    __builtin_memcpy(&y, b, sizeof y);
    if (x != y) {
      /* Little-endian: the first byte that differs is the lowest. */
      int first = __builtin_ctzll(x ^ y) / 8;
      return a[first] - b[first];
    }
    a += sizeof x;
    b += sizeof y;
  }
  for (; count > 0; count--, a++, b++)
    if (*a != *b)
      return *a - *b;
  return 0;
}
#define memcmp compare_by_words
