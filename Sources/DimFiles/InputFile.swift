import DimRuntime
import Glibc

/// A regular file, open for reading. It is checked by its descriptor, so that the file that is read is the one that was
/// checked.
package final class InputFile {
    package let path: FilePath
    let descriptor: Int32
    let size: Int64

    package convenience init(path: FilePath) throws {
        // O_NONBLOCK: a FIFO without a writer must not hold us up.
        let opened = path.withCString { name in
            var opened = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)
            while opened < 0 && errno == EINTR {
                opened = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)
            }
            return opened
        }
        guard opened >= 0 else { throw ioError("cannot open \(path)", errno) }
        try self.init(descriptor: opened, path: path)
    }

    /// Takes over the descriptor of an open file; closes it where it throws. `path` is for messages.
    init(descriptor: Int32, path: FilePath) throws {
        do {
            var status = stat()
            guard fstat(descriptor, &status) == 0 else { throw ioError("cannot examine \(path)", errno) }
            guard status.st_mode & S_IFMT == S_IFREG else {
                throw DimError(.io, "cannot open \(path): it is \(kindOfFile(status.st_mode)), not a regular file")
            }
            // What libhdf5 itself does: a writer holds the exclusive lock. File systems without locks are fine.
            if flock(descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK {
                throw DimError(
                    .io, "cannot open \(path): a program has it open for writing; close the file there first")
            }
            self.path = path
            self.descriptor = descriptor
            self.size = Int64(status.st_size)
        } catch {
            close(descriptor)
            throw error
        }
    }

    deinit { close(descriptor) }

    /// A person's guess at a file that is not HDF5, from its first bytes; nil where HDF5's signature may follow.
    func foreignFormat() -> String? {
        if size == 0 { return "it is empty" }
        var head = [UInt8](repeating: 0, count: 16)
        let count = min(head.count, Int(size))
        guard readFully(descriptor, &head, count: count, at: 0) == 0 else { return nil }
        if head.starts(with: [0x50, 0x4b, 0x03, 0x04]) {
            return "it is a zip archive, as torch.save writes it or numpy.savez; \(InputFile.conversion)"
        }
        if head.starts(with: [0x80, 0x02]) || head.starts(with: [0x80, 0x04]) || head.starts(with: [0x80, 0x05]) {
            return "it is a Python pickle; \(InputFile.conversion)"
        }
        if head[8...].starts(with: Array("{\"".utf8)) {
            // A sound length has seven bytes at most, and `SafetensorsHeader.isLikely` takes those.
            return "it looks like a safetensors file whose first 8 bytes, the header's length, are damaged; "
                + "use another copy of the file"
        }
        return nil
    }

    private static let conversion =
        "convert it in Python: with h5py.File('weights.h5', 'w') as f: "
        + "for k, v in state_dict.items(): f[k] = v.detach().cpu().float().numpy()"
}

func ioError(_ what: String, _ code: Int32) -> DimError {
    DimError(.io, "\(what): \(String(cString: strerror(code)))")
}

func kindOfFile(_ mode: mode_t) -> String {
    switch mode & S_IFMT {
    case S_IFDIR: "a directory"
    case S_IFIFO: "a FIFO"
    case S_IFCHR, S_IFBLK: "a device"
    case S_IFSOCK: "a socket"
    default: "something else"
    }
}
