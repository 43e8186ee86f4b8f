import DimArchitecture
import DimOperators
import DimRuntime

/// The memory of one call at a time: a buffer a slot, which grows to what the largest call so far needed and is then reused.
/// A plan numbers its slots when it is built; two values that are alive together have different slots.
final class Arena: @unchecked Sendable {
    private var buffers: [Buffer?] = []

    /// At least `count` floats, not initialised. Asking again for the same slot may invalidate the earlier pointer.
    func floats(_ slot: Int, _ count: Int) throws -> UnsafeMutablePointer<Float> {
        if slot >= buffers.count { buffers += [Buffer?](repeating: nil, count: slot + 1 - buffers.count) }
        if let buffer = buffers[slot], buffer.count >= count { return buffer.pointer }
        buffers[slot] = nil  // first give back, then ask: the peak counts
        let buffer = try Buffer(uninitialized: max(count, 1))
        buffers[slot] = buffer
        return buffer.pointer
    }

    func activation(_ slot: Int, _ shape: MapShape, images: Int) throws -> Activation {
        Activation(try floats(slot, Activation.count(shape, images: images)), shape, images: images)
    }

    var bytes: Int { buffers.reduce(0) { $0 + ($1?.count ?? 0) * 4 } }
}

/// Lends arenas to calls and keeps a few that are not lent for the next ones.
final class ArenaPool: Sendable {
    private static let kept = 2
    /// An arena that grew past this is not kept.
    private static let keptBytes = 256 << 20

    private let idle = Guarded<[Arena]>([])

    func withArena<T>(_ body: (Arena) throws -> T) rethrows -> T {
        let arena = idle.withLock { $0.popLast() } ?? Arena()
        defer {
            if arena.bytes <= ArenaPool.keptBytes {
                idle.withLock { if $0.count < ArenaPool.kept { $0.append(arena) } }
            }
        }
        return try body(arena)
    }
}

/// Hands out the slots of an arena when a plan is built.
struct SlotCounter {
    private(set) var next: Int

    init(next: Int = 0) { self.next = next }

    mutating func take(_ count: Int = 1) -> Int {
        defer { next += count }
        return next
    }
}
