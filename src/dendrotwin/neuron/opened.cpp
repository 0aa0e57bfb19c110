// Preloaded into a process, notes the files that C and C++ code of it opens: by fopen, as hoc, Import3d and NEURON do, or
// by open. A line "r PATH" or "w PATH" for each is added to the file that $DENDROTWIN_OPENED names, while that is set.

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef FILE* (*Fopen)(const char*, const char*);
typedef int (*Open)(const char*, int, ...);

static void note(const char* path, bool written) {
    const char* list = getenv("DENDROTWIN_OPENED");
    char line[PATH_MAX + 4] = "r ";
    if (list == NULL || realpath(path, line + 2) == NULL) {
        return;
    }
    if (written) {
        line[0] = 'w';
    }
    strcat(line, "\n");
    int file = ((Open)dlsym(RTLD_NEXT, "open"))(list, O_WRONLY | O_APPEND);
    if (file >= 0) {
        ssize_t done = write(file, line, strlen(line));
        (void)done;
        close(file);
    }
}

static FILE* noted(const char* name, const char* path, const char* mode) {
    FILE* file = ((Fopen)dlsym(RTLD_NEXT, name))(path, mode);
    if (file != NULL) {
        note(path, strpbrk(mode, "wa+") != NULL);
    }
    return file;
}

static int noted(const char* name, const char* path, int flags, int mode) {
    int file = ((Open)dlsym(RTLD_NEXT, name))(path, flags, mode);
    if (file >= 0) {
        note(path, (flags & O_ACCMODE) != O_RDONLY);
    }
    return file;
}

extern "C" {

FILE* fopen(const char* path, const char* mode) {
    return noted("fopen", path, mode);
}

FILE* fopen64(const char* path, const char* mode) {
    return noted("fopen64", path, mode);
}

int open(const char* path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0;
    va_end(rest);
    return noted("open", path, flags, mode);
}

int open64(const char* path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0;
    va_end(rest);
    return noted("open64", path, flags, mode);
}
}
