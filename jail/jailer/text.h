/* Bounded text: building lines in caller's memory, comparing, reading numbers. */
#ifndef PYJAIL_TEXT_H
#define PYJAIL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);

size_t text_length(const char *s);
bool text_equal(const char *a, const char *b);
bool text_starts(const char *s, const char *prefix);
const char *text_last(const char *s, char c); /* the last c in s, or NULL */

/* Up to 15, or more if it is none. */
static inline unsigned text_digit(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (unsigned)(c - 'a') + 10;
    return 99;
}

/* Strict: digits only, the whole string, no overflow beyond max. */
bool text_number(const char *s, unsigned base, uint64_t max, uint64_t *out);

/* A line under construction. What does not fit is cut and `full` says so; the content always ends in NUL. */
struct line {
    char *data;
    size_t size, used;
    bool full;
};

#define LINE(name, bytes)        \
    char name##_memory[bytes];   \
    struct line name = {name##_memory, sizeof name##_memory, 0, false}; \
    name##_memory[0] = 0

void line_bytes(struct line *l, const char *data, size_t n);
void line_text(struct line *l, const char *s);
void line_char(struct line *l, char c);
void line_number(struct line *l, uint64_t value, unsigned base);
void line_signed(struct line *l, int64_t value);
void line_seconds(struct line *l, uint64_t microseconds);
void line_escaped(struct line *l, const char *s, size_t n); /* as a field of a plan */
void line_json(struct line *l, const char *s);              /* a quoted JSON string; bytes that are not UTF-8 become U+FFFD */

const char *errno_name(int error);
const char *errno_text(int error);

#endif
