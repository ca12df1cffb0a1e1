/*
 * cat-sync: copies standard input (or the file named by the only argument) to
 * standard output with blocking reads and writes through one 64 KiB buffer.
 *
 * Exit status: 0 copied; 1 an I/O error; 2 wrong arguments.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES 65536

static unsigned char buffer[BUFFER_BYTES];

/* Writes all of it, going on after short writes. Returns 0, or -1 with errno. */
static int write_all(int fd, const void *data, size_t len)
{
    const unsigned char *next = data;
    while (len > 0) {
        ssize_t done = write(fd, next, len);
        if (done < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        if (done == 0) {
            errno = EIO;
            return -1;
        }
        next += done;
        len -= (size_t)done;
    }
    return 0;
}

static void say(const char *text)
{
    (void)write_all(STDERR_FILENO, text, strlen(text));
}

static int fail(const char *what)
{
    const char *why = strerror(errno);
    say("cat-sync: ");
    say(what);
    say(": ");
    say(why);
    say("\n");
    return 1;
}

int main(int argc, char **argv)
{
    int in = STDIN_FILENO;
    const char *name = "standard input";

    if (argc > 2 || (argc == 2 && argv[1][0] == '\0')) {
        say("usage: cat-sync [file]\n");
        return 2;
    }
    if (argc == 2) {
        name = argv[1];
        in = open(name, O_RDONLY);
        if (in < 0)
            return fail(name);
    }
    for (;;) {
        ssize_t got = read(in, buffer, sizeof buffer);
        if (got == 0)
            break;
        if (got < 0) {
            if (errno == EINTR)
                continue;
            return fail(name);
        }
        if (write_all(STDOUT_FILENO, buffer, (size_t)got) != 0)
            return fail("standard output");
    }
    /* Some errors of a delayed write are only reported on closing. */
    if (close(STDOUT_FILENO) != 0)
        return fail("standard output");
    return 0;
}
