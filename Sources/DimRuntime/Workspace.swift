/// Scratch memory of one call: named buffers that grow to what the largest call so far needed and are then reused. Not for
/// two threads at once.
package final class Workspace: @unchecked Sendable {
    private var buffers: [String: Buffer] = [:]

    package init() {}

    /// At least `count` floats, not initialised. One name is one buffer: asking again may invalidate the earlier pointer.
    package func floats(_ name: String, _ count: Int) throws -> UnsafeMutablePointer<Float> {
        if let buffer = buffers[name], buffer.count >= count { return buffer.pointer }
        buffers[name] = nil  // first give back, then ask: the peak counts
        let buffer = try Buffer(uninitialized: count)
        buffers[name] = buffer
        return buffer.pointer
    }

    /// A layer's own scratch: valid until the next call.
    package func reserve(_ count: Int) throws -> UnsafeMutablePointer<Float> { try floats("layer", count) }

    package func drop(_ name: String) { buffers[name] = nil }

    package var bytes: Int { buffers.values.reduce(0) { $0 + $1.count * MemoryLayout<Float>.stride } }
}
