// What a disk surely holds: loaded into a worker (LD_PRELOAD) on Linux.
//
// Whenever a file below $SAFER_FAULTS_FOLDER was synced, it is copied to $SAFER_FAULTS_DISK, under its inode. A power cut leaves
// that, and of what came later anything. Names are taken to be durable at once. The sync number $SAFER_FAULTS_FAIL fails.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
static long syncs;

static int copy(const char *from, const char *to) {
    static char buffer[1 << 16];
    ssize_t got = -1;
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (in >= 0 && out >= 0)
        while ((got = read(in, buffer, sizeof buffer)) > 0)
            if (write(out, buffer, got) != got) {
                got = -1;
                break;
            }
    close(in);
    close(out);
    return got == 0 ? 0 : -1;
}

static int synced(const char *name, int fd) {
    const char *folder = getenv("SAFER_FAULTS_FOLDER"), *disk = getenv("SAFER_FAULTS_DISK");
    const char *fail = getenv("SAFER_FAULTS_FAIL");
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    struct stat status;
    char link[64], path[4096], partial[4200], whole[4200];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (!folder || length < 0 || fstat(fd, &status) || !S_ISREG(status.st_mode))
        return sync(fd);
    path[length] = 0;
    if (strncmp(path, folder, strlen(folder)))
        return sync(fd);

    pthread_mutex_lock(&one);
    int result = 0;
    if (fail && ++syncs == atol(fail)) {
        errno = EIO;
        result = -1;
    } else if (!(result = sync(fd)) && disk) {
        // Under another name first: the process may be killed at any moment.
        snprintf(partial, sizeof partial, "%s/.copy", disk);
        snprintf(whole, sizeof whole, "%s/%llu", disk, (unsigned long long)status.st_ino);
        if (copy(path, partial) || rename(partial, whole))
            abort();
    }
    pthread_mutex_unlock(&one);
    return result;
}

int fsync(int fd) { return synced("fsync", fd); }

int fdatasync(int fd) { return synced("fdatasync", fd); }

// Another file may get the inode.
int unlink(const char *path) {
    int (*remove_name)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
    const char *disk = getenv("SAFER_FAULTS_DISK");
    struct stat status;
    char copied[4200];
    int known = disk && !stat(path, &status);
    int result = remove_name(path);
    if (known && !result) {
        snprintf(copied, sizeof copied, "%s/%llu", disk, (unsigned long long)status.st_ino);
        remove_name(copied);
    }
    return result;
}
