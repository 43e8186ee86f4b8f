import CHDF5
import Glibc

/// A libhdf5 file driver over an open descriptor. libhdf5's own driver opens paths, and with that a FIFO, a file that was
/// swapped after it was checked, or one that the host has open in the same libhdf5. This one:
/// - reads exactly the file that was checked, and nothing past its end (libhdf5's own returns zeros there);
/// - keeps the first error of the operating system in `failure`, so that a full disk is distinguished from a damaged file;
/// - reports a failed write to libhdf5 as a success: libhdf5 cannot close a file that it cannot flush, and would keep
///   it in memory for as long as the process lives. Writers must check `failure` at the end.
final class FileDriver {
    /// What the callbacks see.
    struct State {
        let descriptor: Int32
        var size: Int64
        /// errno of the first call that failed; 0 for none.
        var failure: Int32 = 0
    }

    private let driver: HDF5Object
    private let state: UnsafeMutablePointer<State>
    /// A file access list that opens with this driver, whatever name is given.
    let access: HDF5Object

    init?(descriptor: Int32, size: Int64) {
        guard let driver = FileDriver.register(), let access = HDF5Object(dim_h5_file_access()) else { return nil }
        self.driver = driver
        self.access = access
        state = .allocate(capacity: 1)
        state.initialize(to: State(descriptor: descriptor, size: size))
        var settings = Settings(state: state)
        guard H5Pset_driver(access.id, driver.id, &settings) >= 0 else { return nil }
    }

    deinit { state.deallocate() }

    var failure: Int32 { state.pointee.failure }

    // MARK: Callbacks

    /// What travels in the file access list; libhdf5 copies it byte by byte.
    private struct Settings {
        let state: UnsafeMutablePointer<State>
    }

    /// An open file; libhdf5 knows the first member.
    private struct File {
        var base: H5FD_t
        var state: UnsafeMutablePointer<State>
        var allocated: haddr_t
    }

    private static func file(_ pointer: UnsafePointer<H5FD_t>?) -> UnsafeMutablePointer<File> {
        UnsafeMutableRawPointer(mutating: pointer!).assumingMemoryBound(to: File.self)
    }

    private static func register() -> HDF5Object? {
        var driver = dim_h5_driver_class(MemoryLayout<Settings>.size)
        driver.open = { _, _, access, _ in
            guard let settings = H5Pget_driver_info(access) else { return nil }
            let pointer = UnsafeMutablePointer<File>.allocate(capacity: 1)
            let state = settings.assumingMemoryBound(to: Settings.self).pointee.state
            pointer.initialize(to: File(base: H5FD_t(), state: state, allocated: 0))
            return UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: H5FD_t.self)
        }
        driver.close = { pointer in
            FileDriver.file(pointer).deallocate()
            return 0
        }
        driver.query = { _, flags in
            flags?.pointee = dim_h5_driver_features()
            return 0
        }
        driver.get_eoa = { pointer, _ in FileDriver.file(pointer).pointee.allocated }
        driver.set_eoa = { pointer, _, address in
            FileDriver.file(pointer).pointee.allocated = address
            return 0
        }
        driver.get_eof = { pointer, _ in haddr_t(FileDriver.file(pointer).pointee.state.pointee.size) }
        driver.read = { pointer, _, _, address, size, buffer in
            let state = FileDriver.file(pointer).pointee.state
            guard let buffer, state.pointee.failure == 0, let offset = Int64(exactly: address),
                offset <= state.pointee.size, size <= state.pointee.size - offset
            else { return -1 }
            let failure = readFully(state.pointee.descriptor, buffer, count: size, at: offset)
            state.pointee.failure = failure
            return failure == 0 ? 0 : -1
        }
        driver.write = { pointer, _, _, address, size, buffer in
            let state = FileDriver.file(pointer).pointee.state
            guard let buffer, let offset = Int64(exactly: address) else { return -1 }
            if state.pointee.failure == 0 {
                state.pointee.failure = writeFully(state.pointee.descriptor, buffer, count: size, at: offset)
            }
            state.pointee.size = max(state.pointee.size, offset + Int64(size))
            return 0
        }
        driver.truncate = { pointer, _, _ in
            let file = FileDriver.file(pointer)
            let state = file.pointee.state
            guard let size = Int64(exactly: file.pointee.allocated) else { return -1 }
            if state.pointee.size != size {
                if state.pointee.failure == 0, ftruncate(state.pointee.descriptor, off_t(size)) != 0 {
                    state.pointee.failure = errno
                }
                state.pointee.size = size
            }
            return 0
        }
        return HDF5Object(H5FDregister(&driver))
    }
}

/// Reads all `count` bytes or returns an errno; EIO where the file ends before.
func readFully(_ descriptor: Int32, _ buffer: UnsafeMutableRawPointer, count: Int, at offset: Int64) -> Int32 {
    inParts(count) { done in pread(descriptor, buffer + done, count - done, off_t(offset) + off_t(done)) }
}

/// Writes all `count` bytes or returns an errno; EIO where the system takes none and does not say why.
func writeFully(_ descriptor: Int32, _ buffer: UnsafeRawPointer, count: Int, at offset: Int64) -> Int32 {
    inParts(count) { done in pwrite(descriptor, buffer + done, count - done, off_t(offset) + off_t(done)) }
}

/// Repeats a system call, which returns how many bytes it moved behind the first `done`, until all are moved.
private func inParts(_ count: Int, _ move: (_ done: Int) -> Int) -> Int32 {
    var done = 0
    while done < count {
        let n = move(done)
        if n > 0 {
            done += n
        } else if n == 0 {
            return EIO
        } else if errno != EINTR {
            return errno
        }
    }
    return 0
}
