/* Included before each file of QuickJS, which knows no limit of the stack where it sees WASI: a
   program that recurses too deep would end the whole call instead of getting a RangeError.
   All the system's headers come first, since they do want to see WASI. */
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
#undef __wasi__
/* How it learns the size of what was allocated, which its garbage collector counts. */
#define __ANDROID__ 1
