/// What one operator needs while it runs: a buffer that grows to what the largest call so far needed and is then reused. Not
/// for two threads at once.
package final class ScratchBuffer {
    private var buffer: Buffer?

    package init() {}

    /// At least `count` floats, not initialised, valid until the next call.
    package func floats(_ count: Int) throws -> UnsafeMutablePointer<Float> {
        if let buffer, buffer.count >= count { return buffer.pointer }
        buffer = nil  // first give back, then ask: the peak counts
        let grown = try Buffer(uninitialized: count)
        buffer = grown
        return grown.pointer
    }

    package var bytes: Int { (buffer?.count ?? 0) * MemoryLayout<Float>.stride }
}
