/* A command line for the wasm3 interpreter, for the packages that carry its
 * source and not its own `wasm3`: `wasm3 MODULE ARGUMENT...`, `wasm3 --version`.
 * Compiled by runtimes/install, with wasm3's own WASI. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "m3_api_wasi.h"
#include "m3_env.h"
#include "wasm3.h"

enum { STACK = 1 << 20 };

/* As m3_api_wasi.c has it. */
extern struct preopened {
    int fd;
    char *path;
} preopen[4];

static unsigned char *load(const char *path, uint32_t *size) {
    FILE *file = fopen(path, "rb");
    long length;
    unsigned char *bytes;
    if (!file || fseek(file, 0, SEEK_END) || (length = ftell(file)) < 0) return NULL;
    rewind(file);
    bytes = malloc((size_t)length + 1);
    *size = (uint32_t)length;
    size_t length_read = bytes ? fread(bytes, 1, *size, file) : 0;
    /* That WASI takes a function's descriptors for ours: none must be open. */
    fclose(file);
    return bytes && length_read == *size ? bytes : NULL;
}

static int fail(const char *what, const char *why) {
    fprintf(stderr, "Error: %s: %s\n", what, why);
    return 1;
}

int main(int argc, char **argv) {
    uint32_t size;
    IM3Module module;
    IM3Function start;
    M3Result result;
    if (argc == 2 && !strcmp(argv[1], "--version")) return printf("Wasm3 v%s\n", M3_VERSION) < 0;
    if (argc < 2) return fail("usage", "wasm3 MODULE [ARGUMENT]...");
    IM3Environment environment = m3_NewEnvironment();
    IM3Runtime runtime = m3_NewRuntime(environment, STACK, NULL);
    unsigned char *bytes = load(argv[1], &size);
    if (!bytes) return fail(argv[1], "cannot be read");
    if ((result = m3_ParseModule(environment, &module, bytes, size))) return fail("parse", result);
    if ((result = m3_LoadModule(runtime, module))) return fail("load", result);
    if ((result = m3_LinkWASI(module))) return fail("link", result);
    if ((result = m3_FindFunction(&start, runtime, "_start"))) return fail("_start", result);
    /* The working folder, which that WASI hands to every module: not to ours. */
    close(preopen[3].fd);
    preopen[3].fd = -1;
    result = m3_CallWithArgs(start, (uint32_t)argc - 1, (const char *const *)argv + 1);
    if (result == m3Err_trapExit) {
        if (runtime->exit_code == (runtime->exit_code & 255)) return runtime->exit_code;
        fprintf(stderr, "exit code out of range: %d does not fit into 8 bits\n", (int)runtime->exit_code);
        return 1;
    }
    return result ? fail("trap", result) : 0;
}
