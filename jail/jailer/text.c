#include "text.h"
#include <linux/errno.h>

size_t text_length(const char *s)
{
    size_t n = 0;
    while (s[n])
        n++;
    return n;
}

bool text_equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

bool text_starts(const char *s, const char *prefix)
{
    while (*prefix && *s == *prefix)
        s++, prefix++;
    return !*prefix;
}

const char *text_last(const char *s, char c)
{
    const char *found = NULL;
    for (; *s; s++)
        if (*s == c)
            found = s;
    return found;
}

bool text_number(const char *s, unsigned base, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;
    if (!*s)
        return false;
    for (; *s; s++) {
        unsigned d = text_digit(*s);
        if (d >= base || __builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, d, &value) ||
            value > max)
            return false;
    }
    *out = value;
    return true;
}

void line_bytes(struct line *l, const char *data, size_t n)
{
    size_t room = l->size - l->used - 1;
    if (n > room) {
        n = room;
        l->full = true;
    }
    memcpy(l->data + l->used, data, n);
    l->used += n;
    l->data[l->used] = 0;
}

void line_text(struct line *l, const char *s)
{
    line_bytes(l, s, text_length(s));
}

void line_char(struct line *l, char c)
{
    line_bytes(l, &c, 1);
}

void line_number(struct line *l, uint64_t value, unsigned base)
{
    char digits[24];
    size_t at = sizeof digits;
    do {
        digits[--at] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    line_bytes(l, digits + at, sizeof digits - at);
}

void line_signed(struct line *l, int64_t value)
{
    if (value < 0)
        line_char(l, '-');
    line_number(l, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10);
}

void line_seconds(struct line *l, uint64_t microseconds)
{
    uint64_t fraction = microseconds % 1000000;
    line_number(l, microseconds / 1000000, 10);
    line_char(l, '.');
    for (uint64_t unit = 100000; unit; unit /= 10)
        line_char(l, (char)('0' + fraction / unit % 10));
}

void line_escaped(struct line *l, const char *s, size_t n)
{
    if (n == 0)
        line_text(l, "\\000");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c > 0x20 && c != 0x7f && c != '\\') {
            line_char(l, s[i]);
            continue;
        }
        line_char(l, '\\');
        line_char(l, (char)('0' + (c >> 6)));
        line_char(l, (char)('0' + (c >> 3 & 7)));
        line_char(l, (char)('0' + (c & 7)));
    }
}

/* The length of the well-formed UTF-8 sequence at s (Unicode, table 3-7), or 0. */
static size_t utf8_length(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

void line_json(struct line *l, const char *s)
{
    line_char(l, '"');
    while (*s) {
        size_t n = utf8_length((const unsigned char *)s);
        if (n == 0) {
            line_text(l, "\\ufffd");
            n = 1;
        } else if (n > 1) {
            line_bytes(l, s, n);
        } else if ((unsigned char)*s < 0x20 || *s == 0x7f) {
            line_text(l, "\\u00");
            line_char(l, (char)('0' + (*s >> 4)));
            line_char(l, "0123456789abcdef"[*s & 15]);
        } else {
            if (*s == '"' || *s == '\\')
                line_char(l, '\\');
            line_char(l, *s);
        }
        s += n;
    }
    line_char(l, '"');
}

struct error_text {
    int error;
    char name[16], text[64];
};

static const struct error_text errors[] = {
    {EPERM, "EPERM", "operation not permitted"},
    {ENOENT, "ENOENT", "no such file or directory"},
    {ESRCH, "ESRCH", "no such process"},
    {EINTR, "EINTR", "interrupted"},
    {EIO, "EIO", "input/output error"},
    {ENXIO, "ENXIO", "no such device or address"},
    {E2BIG, "E2BIG", "argument list too long"},
    {ENOEXEC, "ENOEXEC", "not in a format that the kernel can execute (no #! line?)"},
    {EBADF, "EBADF", "bad file descriptor"},
    {ECHILD, "ECHILD", "no child process"},
    {EAGAIN, "EAGAIN", "a limit on processes or threads was reached"},
    {ENOMEM, "ENOMEM", "out of memory"},
    {EACCES, "EACCES", "permission denied"},
    {EFAULT, "EFAULT", "bad address"},
    {EBUSY, "EBUSY", "busy"},
    {EEXIST, "EEXIST", "exists already"},
    {EXDEV, "EXDEV", "crosses a file system"},
    {ENODEV, "ENODEV", "no such device"},
    {ENOTDIR, "ENOTDIR", "not a directory"},
    {EISDIR, "EISDIR", "is a directory"},
    {EINVAL, "EINVAL", "invalid argument"},
    {ENFILE, "ENFILE", "too many open files in the system"},
    {EMFILE, "EMFILE", "too many open files"},
    {ETXTBSY, "ETXTBSY", "text file busy"},
    {EFBIG, "EFBIG", "file too large"},
    {ENOSPC, "ENOSPC", "no space left"},
    {ESPIPE, "ESPIPE", "not seekable"},
    {EROFS, "EROFS", "read-only file system"},
    {EMLINK, "EMLINK", "too many links"},
    {EPIPE, "EPIPE", "broken pipe"},
    {ERANGE, "ERANGE", "out of range"},
    {EDEADLK, "EDEADLK", "deadlock"},
    {ENAMETOOLONG, "ENAMETOOLONG", "name too long"},
    {ENOSYS, "ENOSYS", "this kernel (or a filter around us) does not offer the call"},
    {ENOTEMPTY, "ENOTEMPTY", "not empty"},
    {ELOOP, "ELOOP", "too many symbolic links"},
    {EOVERFLOW, "EOVERFLOW", "value too large"},
    {EUSERS, "EUSERS", "too many users of namespaces (user.max_*_namespaces)"},
    {EOPNOTSUPP, "EOPNOTSUPP", "not supported by this file system or kernel"},
    {ELIBBAD, "ELIBBAD", "a damaged library or interpreter"},
    {ESTALE, "ESTALE", "stale file handle"},
    {EDQUOT, "EDQUOT", "quota exceeded"},
};

static const struct error_text *error_find(int error)
{
    static const struct error_text unknown = {0, "errno", "error"};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (errors[i].error == error)
            return &errors[i];
    return &unknown;
}

const char *errno_name(int error)
{
    return error_find(error)->name;
}

const char *errno_text(int error)
{
    return error_find(error)->text;
}
