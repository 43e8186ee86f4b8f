import DimArchitecture
import DimOperators
import DimRuntime

/// A place in an arena. Plans take theirs when they are built (`SlotCounter`), so that no two have the same.
package struct BufferSlot: Hashable, Sendable {
    fileprivate let number: Int
}

/// Slots by name: one for each case of `Name`.
package struct BufferSlots<Name: CaseIterable & RawRepresentable>: Sendable where Name.RawValue == Int {
    private let first: Int

    fileprivate init(first: Int) { self.first = first }

    package subscript(_ name: Name) -> BufferSlot { BufferSlot(number: first + name.rawValue) }

    package var all: [BufferSlot] { Name.allCases.map { self[$0] } }
}

/// Hands out the slots of an arena when a plan is built.
package struct SlotCounter {
    package private(set) var next: Int

    package init(next: Int = 0) { self.next = next }

    mutating func take<Name>(_: Name.Type = Name.self) -> BufferSlots<Name> {
        defer { next += Name.allCases.count }
        return BufferSlots(first: next)
    }
}

/// The memory of one call at a time: a buffer a slot, which grows to what the largest call so far needed and is then reused.
/// Two values that are alive together have different slots.
package final class Arena: @unchecked Sendable {
    private var buffers: [Buffer?] = []
    /// What operators need beside their operands, one after another.
    package let scratch = ScratchBuffer()

    package init() {}

    /// At least `count` floats, not initialised. Asking again for the same slot may invalidate the earlier pointer.
    package func floats(_ slot: BufferSlot, _ count: Int) throws -> UnsafeMutablePointer<Float> {
        let slot = slot.number
        if slot >= buffers.count { buffers += [Buffer?](repeating: nil, count: slot + 1 - buffers.count) }
        if let buffer = buffers[slot], buffer.count >= count { return buffer.pointer }
        buffers[slot] = nil  // first give back, then ask: the peak counts
        let buffer = try Buffer(uninitialized: max(count, 1))
        buffers[slot] = buffer
        return buffer.pointer
    }

    package func activation(_ slot: BufferSlot, _ shape: MapShape, images: Int) throws -> Activation {
        Activation(try floats(slot, Activation.count(shape, images: images)), shape, images: images)
    }

    var bytes: Int { buffers.reduce(scratch.bytes) { $0 + ($1?.count ?? 0) * MemoryLayout<Float>.stride } }
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
