/// Memory for the time of an operator's call, of which each worker of a loop has a share.
package struct WorkerScratch {
    package let pointer: UnsafeMutablePointer<Float>
    package let count: Int

    package init(_ pointer: UnsafeMutablePointer<Float>, count: Int) { (self.pointer, self.count) = (pointer, count) }

    /// `floats` of one of so many workers. Shares are equal parts of all there is: layer after layer, whatever they need of it, a
    /// worker finds what it wrote itself, and takes no cache line from another core.
    func share(of worker: Int, among workers: Int, floats: Int) -> UnsafeMutablePointer<Float> {
        pointer + worker * max(floats, count / workers / 16 * 16)
    }
}
