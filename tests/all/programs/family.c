/* Five processes that hold 20 MiB each, all at the same time: 100 MiB. */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 20 << 20, CHILDREN = 4 };

static void hold(void) {
    volatile char *memory = malloc(SIZE);
    if (!memory) _exit(2);
    for (int i = 0; i < SIZE; i += 512) memory[i] = 1;
}

int main(void) {
    int full[2], go[2];
    char byte = 0;
    if (pipe(full) || pipe(go)) return 2;
    hold();
    for (int i = 0; i < CHILDREN; i++) {
        if (fork()) continue;
        close(go[1]);
        hold();
        /* Says that it is full, and holds until all are. */
        if (write(full[1], &byte, 1) != 1) _exit(3);
        _exit(read(go[0], &byte, 1) == 0 ? 0 : 4);
    }
    for (int i = 0; i < CHILDREN; i++)
        if (read(full[0], &byte, 1) != 1) return 5;
    close(go[1]);
    for (int i = 0; i < CHILDREN; i++) {
        int status;
        if (wait(&status) < 0 || status) return 6;
    }
    return 0;
}
