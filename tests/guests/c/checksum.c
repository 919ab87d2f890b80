// The tool `checksum`: the Adler-32 sum (RFC 1950) of a text.

#include "bindings.h"

#include <string.h>

static bool fail(exports_ampoule_plugin_tool_error_t *error, const char *code, const char *message) {
  memset(error, 0, sizeof *error);
  // Copies: the bindings free what an export returned.
  bindings_string_dup(&error->code, code);
  bindings_string_dup(&error->message, message);
  return false;
}

static const uint8_t *find(const uint8_t *from, const uint8_t *end, char wanted) {
  return from == NULL ? NULL : memchr(from, wanted, (size_t)(end - from));
}

// The one string in the arguments. The input schema lets nothing through that has to be escaped,
// so it ends at the next quote; a caller that escapes all the same is refused.
static bool text_of(const bindings_string_t *arguments, bindings_string_t *text) {
  const uint8_t *end = arguments->ptr + arguments->len;
  if (find(arguments->ptr, end, '\\') != NULL) return false;
  const uint8_t *open = find(find(arguments->ptr, end, ':'), end, '"');
  if (open == NULL) return false;
  const uint8_t *close = find(open + 1, end, '"');
  if (close == NULL) return false;
  text->ptr = (uint8_t *)open + 1;
  text->len = (size_t)(close - open - 1);
  return true;
}

static uint32_t adler32(const bindings_string_t *text) {
  const uint32_t prime = 65521;
  uint32_t a = 1, b = 0;
  for (size_t i = 0; i < text->len; i++) {
    a = (a + text->ptr[i]) % prime;
    b = (b + a) % prime;
  }
  return b << 16 | a;
}

// Writes `{"key":number}`. Not by printf, which some C libraries tie to files and so to WASI.
static void object(char json[32], const char *key, uint32_t number) {
  char digits[10];
  size_t count = 0;
  do digits[count++] = (char)('0' + number % 10);
  while (number /= 10);
  strcat(strcat(strcpy(json, "{\""), key), "\":");
  char *at = json + strlen(json);
  while (count > 0) *at++ = digits[--count];
  strcpy(at, "}");
}

bool exports_ampoule_plugin_tool_call(bindings_string_t *name,
                                      exports_ampoule_plugin_tool_json_t *arguments,
                                      exports_ampoule_plugin_tool_output_t *output,
                                      exports_ampoule_plugin_tool_error_t *error) {
  if (name->len != strlen("checksum") || memcmp(name->ptr, "checksum", name->len) != 0)
    return fail(error, "not-found", "there is only the tool `checksum`");
  bindings_string_t text;
  if (!text_of(arguments, &text))
    return fail(error, "bad-arguments", "write `text` without escapes");

  char json[32];
  bindings_string_t message, fields;
  object(json, "bytes", (uint32_t)text.len);
  bindings_string_set(&message, "summed");
  bindings_string_set(&fields, json);
  ampoule_plugin_log_log(AMPOULE_PLUGIN_LOG_LEVEL_INFO, &message, &fields);

  object(json, "sum", adler32(&text));
  memset(output, 0, sizeof *output);
  output->value.is_some = true;
  bindings_string_dup(&output->value.val, json);
  return true;
}
