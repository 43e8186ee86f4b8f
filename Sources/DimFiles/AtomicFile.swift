import CSystem
import DimRuntime
import Glibc

/// Replaces a file atomically: the new one is written under another name in the same folder, flushed to the disk, then
/// renamed. At any moment, and after any crash, the path is the old file or the new one. Only a process that is killed
/// meanwhile leaves a file `.dim-<pid>-<random>.tmp`. The next save into the folder removes it if no writer holds its
/// lock.
enum AtomicFile {
    /// `body` writes to the descriptor it is given; what it throws undoes everything.
    static func write(path: FilePath, body: (Int32) throws -> Void) throws {
        let target = try Target(path: path)
        LeftOvers.remove(in: target.folder)
        let temporary = try target.makeTemporary()
        do {
            defer { close(temporary.descriptor) }
            try target.keepAttributes(temporary.descriptor)
            try body(temporary.descriptor)
            guard retrying({ fsync(temporary.descriptor) }) == 0 else {
                throw ioError("cannot write \(path) to the disk", errno)
            }
            let renamed = target.name.withCString { renameat(target.folder, temporary.name, target.folder, $0) }
            guard renamed == 0 else {
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
        let path: FilePath
        let folder: Int32
        let name: FilePath
        /// Of the file that is there already.
        let existing: stat?

        init(path: FilePath) throws {
            self.path = path
            let (parent, name) = try Target.resolve(path)
            guard !name.bytes.allSatisfy({ $0 == UInt8(ascii: ".") }) || name.bytes.count > 2 else {
                throw DimError(.io, "cannot save to \(path): it names a folder, not a file")
            }
            self.name = name
            // O_PATH serves in a folder that may be written and not listed.
            let opened = parent.withCString { parent in
                let opened = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                return opened < 0 && errno == EACCES ? open(parent, __O_PATH | O_DIRECTORY | O_CLOEXEC) : opened
            }
            guard opened >= 0 else { throw ioError("cannot save to \(path): folder \(parent)", errno) }
            folder = opened
            var status = stat()
            let isThere = name.withCString { fstatat(opened, $0, &status, AT_SYMLINK_NOFOLLOW) == 0 }
            existing = isThere ? status : nil
            if let existing, existing.st_mode & S_IFMT != S_IFREG {
                throw DimError(.io, "cannot save to \(path): it is \(kindOfFile(existing.st_mode)), not a regular file")
            }
            if existing != nil, name.withCString({ faccessat(opened, $0, W_OK, AT_EACCESS) }) != 0 {
                throw ioError("cannot save to \(path)", errno)
            }
        }

        deinit { close(folder) }

        /// Folder and name behind the symbolic links that `path` may end in, so that a save writes through them as open()
        /// would; the last one may lead to nothing yet.
        private static func resolve(_ path: FilePath) throws -> (parent: FilePath, name: FilePath) {
            let slash = UInt8(ascii: "/")
            var bytes = path.bytes
            for _ in 0..<40 {
                let last = bytes.lastIndex(of: slash)
                let name = FilePath(last.map { bytes[($0 + 1)...] } ?? bytes[...])
                let parent = last.map { $0 == 0 ? [slash] : Array(bytes[..<$0]) } ?? [UInt8(ascii: ".")]
                let most = Int(PATH_MAX)
                var link = [CChar](repeating: 0, count: most)
                let length = FilePath(bytes).withCString { readlink($0, &link, most) }
                guard length >= 0 else { return (FilePath(parent), name) }
                // Behind /dev/stdout is the file of a shell's redirection, whose name only seems to be the link's text.
                guard !FilePath(parent).withCString({ dim_system_is_on_proc($0) != 0 }) else {
                    throw DimError(
                        .io,
                        "cannot save to \(path): it leads to a file that a process has open; "
                            + "expected the file's own name")
                }
                let destination = link[..<length].map(UInt8.init(bitPattern:))
                bytes = destination.first == slash ? destination : parent + [slash] + destination
            }
            throw ioError("cannot save to \(path)", ELOOP)
        }

        func makeTemporary() throws -> (name: String, descriptor: Int32) {
            // What replaces a file, which may be private, nobody else opens before it has that one's rights.
            let mode: mode_t = existing == nil ? 0o666 : 0o600
            while true {
                let name = LeftOvers.newName()
                let descriptor = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode)
                if descriptor >= 0 {
                    if LeftOvers.claim(descriptor) { return (name, descriptor) }
                    close(descriptor)
                } else if errno != EEXIST && errno != EINTR {
                    throw ioError("cannot save to \(path): a new file in its folder", errno)
                }
            }
        }

        /// A new file has what the umask leaves; one that replaces another takes over what that one has.
        func keepAttributes(_ descriptor: Int32) throws {
            guard existing != nil else { return }
            let old = name.withCString { openat(folder, $0, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY) }
            defer { if old >= 0 { close(old) } }
            var status = stat()
            // What cannot be read now was there a moment ago.
            let isOpen = old >= 0 && fstat(old, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
            guard let replaced = isOpen ? status : existing else { return }
            guard ReplacedFile(descriptor: isOpen ? old : nil, status: replaced).hand(to: descriptor) else {
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
            // Ours are of ASCII alone; of a name that is not UTF-8 nothing is made that could be another file's.
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(validatingCString: $0) }
            }
            if let name, isOurs(name) { removeUnlessHeld(name, folder) }
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
