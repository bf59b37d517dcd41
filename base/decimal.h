/* Decimal numbers as texts. */
#pragma once
#include "base/span.h"

enum { DECIMAL_BYTES_MAX = 511 /* longer digit strings are not converted */ };

/* A decimal number and nothing else: "-12", "1.5e3", ".5"; the double nearest to it, infinite when it is too
 * large for one. False for all else, also what strtod would take (blanks, hexadecimal, "inf", "nan"); the
 * result then stays as it was. */
bool decimal_read(struct span text, double *ret_number);
