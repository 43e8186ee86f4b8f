import CSystem
import Glibc

/// Owns one block of float memory, aligned for the widest vectors. The sole owner of tensor memory in the library:
/// everything else borrows `pointer` while it holds the buffer.
package final class Buffer: @unchecked Sendable {
    package let pointer: UnsafeMutablePointer<Float>
    package let count: Int

    /// 64 bytes: a cache line and an AVX-512 vector.
    private static let alignment = 64
    /// From this size on, a buffer begins with a huge page and asks for as many as it has: Winograd's transforms write to 64 places
    /// at once, each on a page of its own, one image reads all weights once, and a first pass over fresh memory faults once in 2
    /// MB instead of in 4 kB. A rest of less than half a page stays small pages: a training step has dozens of buffers.
    private static let hugePage = 1 << 21
    /// Kernels may load one full vector that starts inside the block, never one that starts past it.
    private static let slack = 64

    /// The contents are not initialised. Throws `.outOfMemory` instead of trapping.
    package init(uninitialized count: Int) throws {
        let (bytes, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<Float>.stride)
        var raw: UnsafeMutableRawPointer?
        let isLarge = bytes >= Buffer.hugePage
        var whole = bytes &+ Buffer.slack
        let rest = whole % Buffer.hugePage
        if isLarge && rest >= Buffer.hugePage / 2 { whole = whole &+ Buffer.hugePage &- rest }
        guard count >= 0, !overflow, bytes < Int.max - 2 * Buffer.hugePage,
            posix_memalign(&raw, isLarge ? Buffer.hugePage : Buffer.alignment, whole) == 0, let raw
        else {
            throw DimError(.outOfMemory, "out of memory: cannot allocate \(count) floats")
        }
        // Advice: where it is refused all works as before.
        if isLarge { madvise(raw, whole / Buffer.hugePage * Buffer.hugePage, MADV_HUGEPAGE) }
        self.pointer = raw.bindMemory(to: Float.self, capacity: count + Buffer.slack / MemoryLayout<Float>.stride)
        self.count = count
    }

    package convenience init(zeros count: Int) throws {
        try self.init(uninitialized: count)
        pointer.update(repeating: 0, count: count)
    }

    package convenience init(copying source: UnsafePointer<Float>, count: Int) throws {
        try self.init(uninitialized: count)
        pointer.update(from: source, count: count)
    }

    package convenience init(_ values: [Float]) throws {
        try self.init(uninitialized: values.count)
        values.withUnsafeBufferPointer {
            if let base = $0.baseAddress { pointer.update(from: base, count: values.count) }
        }
    }

    deinit { free(pointer) }

    package var bufferPointer: UnsafeMutableBufferPointer<Float> {
        UnsafeMutableBufferPointer(start: pointer, count: count)
    }
    package var array: [Float] { Array(bufferPointer) }
}

/// Swift's own arrays end the process where memory runs out. Those whose size grows with n ask here first; what other
/// threads take in the moment between cannot be known.
package func requireMemory(_ bytes: Int) throws {
    guard dim_system_has_memory(bytes) != 0 else {
        throw DimError(.outOfMemory, "out of memory: cannot allocate \(bytes) bytes")
    }
}

/// Doubles for sums, zero at first.
package final class DoubleBuffer: @unchecked Sendable {
    package let pointer: UnsafeMutablePointer<Double>

    package init(zeros count: Int) throws {
        guard let raw = calloc(max(count, 1), MemoryLayout<Double>.stride) else {
            throw DimError(.outOfMemory, "out of memory: cannot allocate \(count) doubles")
        }
        pointer = raw.bindMemory(to: Double.self, capacity: count)
    }

    deinit { free(pointer) }
}
