/* What the kinds of `weir detect` share. */
#pragma once
#include "base/buffer.h"
#include "base/status.h"
#include "cli/commands.h"

extern const size_t detect_file_max; /* bytes of an input file */

enum status detect_read_file(const char *path, struct buffer *out, struct error *error); /* "-": stdin */

int detect_sequences(const char *path); /* returns the exit code */
