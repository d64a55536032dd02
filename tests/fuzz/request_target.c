/* libFuzzer over what a caller sends to its serving jailer. An input is the number of descriptors, the length of the
 * message (two bytes), the message, and the text that its first descriptor would be: in memory of exactly its size, so
 * that AddressSanitizer sees the first byte too many. What is accepted is walked through. */
#include "request.h"
#include "text.h"
#include <stdlib.h>
#include <sys/mman.h>

static volatile size_t seen;

static void walk(char **list, unsigned count, const char *from, const char *to)
{
    for (unsigned i = 0; i < count; i++) {
        if (list[i] < from || list[i] + text_length(list[i]) >= to)
            abort();
        seen += text_length(list[i]);
    }
    if (list[count])
        abort();
}

/* As serve.c does it: the plan behind the command has a byte at least, its NUL. */
static void read_command(const struct request *head, const uint8_t *data, size_t size)
{
    size_t strings = (size_t)head->words + head->variables + head->passed;
    char *text = malloc(size);
    struct command c = {0};
    if (!text)
        return;
    memcpy(text, data, size);
    if (request_command(head, text, &c)) {
        walk(c.words, head->words, text, text + head->command);
        walk(c.variables, head->variables, text, text + head->command);
        walk(c.environment, head->passed, text, text + head->command);
    }
    if (c.words)
        munmap(c.words, (strings + 3) * sizeof(char *));
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct request head = {0};
    if (size < 3)
        return 0;
    unsigned fds = data[0] % (CHANNEL_FDS + 1), length = data[1] | (unsigned)data[2] << 8;
    data += 3;
    size -= 3;
    length = length > size ? (unsigned)size : length;
    length = length > sizeof head ? sizeof head : length;
    memcpy(&head, data, length);
    if (!request_sound(&head, length, fds))
        return 0;
    if (head.given > MOST_GIVEN || fds != (head.kind == REQUEST_RUN ? ASKED_GIVEN + head.given : ASKED_OUTCOME))
        abort();
    for (unsigned i = 0; i < head.given; i++)
        if (head.number[i] < 0 || head.number[i] > 65535)
            abort();
    if (head.kind == REQUEST_RUN && size - length > head.command)
        read_command(&head, data + length, size - length);
    return 0;
}
