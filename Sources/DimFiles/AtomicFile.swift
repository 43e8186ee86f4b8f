import DimRuntime
import Glibc

/// Replaces a file as a whole: written under another name in the same folder, flushed to the disk, then renamed. Whoever
/// looks, at any moment and after any crash, finds the old file or the new one. A process that is killed meanwhile may
/// leave a file `.dim-<pid>-<random>.tmp` behind; one that fails in another way does not. The next save into the folder
/// removes it: a writer holds a lock on its file, and what nobody holds, nobody writes.
enum AtomicFile {
    /// `body` writes to the descriptor it is given; what it throws undoes everything.
    static func write(path: String, body: (Int32) throws -> Void) throws {
        let target = try Target(path: path)
        LeftOvers.remove(in: target.folder)
        let temporary = try target.makeTemporary()
        do {
            defer { close(temporary.descriptor) }
            try target.keepOwnerAndPermissions(temporary.descriptor)
            try body(temporary.descriptor)
            guard retrying({ fsync(temporary.descriptor) }) == 0 else {
                throw ioError("cannot write \(path) to the disk", errno)
            }
            guard renameat(target.folder, temporary.name, target.folder, target.name) == 0 else {
                throw ioError("cannot put the new file in the place of \(path)", errno)
            }
        } catch {
            unlinkat(target.folder, temporary.name, 0)
            throw error
        }
        // The rename itself has to reach the disk. Some file systems cannot sync folders; the file is whole all the same.
        _ = retrying { fsync(target.folder) }
    }

    private static func retrying(_ call: () -> Int32) -> Int32 {
        var result = call()
        while result != 0 && errno == EINTR { result = call() }
        return result
    }

    /// Where to write: a name in an open folder, so that it stays the same place whatever is renamed meanwhile.
    private final class Target {
        let path: String
        let folder: Int32
        let name: String
        /// Of the file that is there already.
        let existing: stat?

        init(path: String) throws {
            guard !path.isEmpty, !path.utf8.contains(0) else {
                throw DimError(.io, "cannot save: the path is \(path.isEmpty ? "empty" : "cut by a NUL byte")")
            }
            self.path = path
            let (parent, name) = try Target.resolve(path)
            guard !["", ".", ".."].contains(name) else {
                throw DimError(.io, "cannot save to \(path): it names a folder, not a file")
            }
            self.name = name
            // O_PATH serves in a folder that may be written and not listed.
            var opened = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            if opened < 0 && errno == EACCES { opened = open(parent, __O_PATH | O_DIRECTORY | O_CLOEXEC) }
            guard opened >= 0 else { throw ioError("cannot save to \(path): folder \(parent)", errno) }
            folder = opened
            var status = stat()
            existing = fstatat(opened, name, &status, AT_SYMLINK_NOFOLLOW) == 0 ? status : nil
            if let existing, existing.st_mode & S_IFMT != S_IFREG {
                throw DimError(.io, "cannot save to \(path): it is \(kindOfFile(existing.st_mode)), not a regular file")
            }
            if existing != nil, faccessat(opened, name, W_OK, AT_EACCESS) != 0 {
                throw ioError("cannot save to \(path)", errno)
            }
        }

        deinit { close(folder) }

        /// Folder and name behind the symbolic links that `path` may end in, so that a save writes through them as open()
        /// would; the last one may lead to nothing yet.
        private static func resolve(_ path: String) throws -> (parent: String, name: String) {
            var path = path
            for _ in 0..<40 {
                let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
                let name = slash.map { String(path[path.utf8.index(after: $0)...]) } ?? path
                let parent = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
                var link = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
                let length = readlink(path, &link, link.count - 1)
                guard length >= 0 else { return (parent, name) }
                let destination = String(decoding: link.prefix(length).map(UInt8.init(bitPattern:)), as: UTF8.self)
                path = destination.hasPrefix("/") ? destination : parent + "/" + destination
            }
            throw ioError("cannot save to \(path)", ELOOP)
        }

        func makeTemporary() throws -> (name: String, descriptor: Int32) {
            while true {
                let name = LeftOvers.newName()
                let descriptor = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o666)
                if descriptor >= 0 {
                    if LeftOvers.claim(descriptor) { return (name, descriptor) }
                    close(descriptor)
                } else if errno != EEXIST && errno != EINTR {
                    throw ioError("cannot save to \(path): a new file in its folder", errno)
                }
            }
        }

        /// A new file has what the umask leaves; one that replaces another takes over owner, as far as we may give it away,
        /// and permissions.
        func keepOwnerAndPermissions(_ descriptor: Int32) throws {
            guard let existing else { return }
            var status = stat()
            if fstat(descriptor, &status) == 0,
                status.st_uid != existing.st_uid || status.st_gid != existing.st_gid
            {
                _ = fchown(descriptor, existing.st_uid, existing.st_gid)
            }
            guard fchmod(descriptor, existing.st_mode & 0o777) == 0 else {
                throw ioError("cannot keep the permissions of \(path)", errno)
            }
        }
    }
}

/// Temporary files of writers that were killed. A process id would not tell whether the writer lives: it may run in another
/// container, or on another machine. A lock does, and goes with the process however that ends.
private enum LeftOvers {
    /// Entries of a folder that are looked at. Who keeps more files in one folder cleans it himself.
    private static let most = 10_000
    private static let prefix = ".dim-"
    private static let suffix = ".tmp"

    static func newName() -> String {
        "\(prefix)\(getpid())-\(String(UInt64.random(in: .min ... .max), radix: 16))\(suffix)"
    }

    /// Locks a new file for as long as it is open; a shared lock, since readers of the finished file take one, too. False
    /// where another process took the file for a left-over before that. File systems without locks are fine: there, nothing
    /// is removed.
    static func claim(_ descriptor: Int32) -> Bool {
        if flock(descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK { return false }
        var status = stat()
        return fstat(descriptor, &status) != 0 || status.st_nlink > 0
    }

    /// Removes ours, as far as that is possible.
    static func remove(in folder: Int32) {
        let copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0 else { return }
        guard let entries = fdopendir(copy) else {
            close(copy)
            return
        }
        defer { closedir(entries) }
        for _ in 0..<most {
            guard let entry = readdir(entries) else { return }
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if isOurs(name) { removeUnlessHeld(name, folder) }
        }
    }

    private static func isOurs(_ name: String) -> Bool {
        guard name.hasPrefix(prefix), name.hasSuffix(suffix) else { return false }
        let parts = name.dropFirst(prefix.count).dropLast(suffix.count).split(
            separator: "-", omittingEmptySubsequences: false)
        return parts.count == 2 && Int32(parts[0]) != nil && UInt64(parts[1], radix: 16) != nil
    }

    private static func removeUnlessHeld(_ name: String, _ folder: Int32) {
        let descriptor = openat(folder, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_uid == geteuid(),
            flock(descriptor, LOCK_EX | LOCK_NB) == 0
        else { return }
        unlinkat(folder, name, 0)
    }
}

/// Runs `body` so that a write beyond the process's file size limit fails with EFBIG; by default the system ends the
/// process with a signal.
func withoutSizeSignal<Result>(_ body: () throws -> Result) rethrows -> Result {
    var signal = sigset_t()
    var before = sigset_t()
    var pending = sigset_t()
    sigemptyset(&signal)
    sigaddset(&signal, SIGXFSZ)
    sigpending(&pending)
    let wasPending = sigismember(&pending, SIGXFSZ) == 1
    pthread_sigmask(SIG_BLOCK, &signal, &before)
    defer {
        var now = timespec(tv_sec: 0, tv_nsec: 0)
        if !wasPending { _ = sigtimedwait(&signal, nil, &now) }
        pthread_sigmask(SIG_SETMASK, &before, nil)
    }
    return try body()
}
