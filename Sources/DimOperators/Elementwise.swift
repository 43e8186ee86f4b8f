import DimKernels
import DimRuntime

/// Operations on each value of an activation, in place. All arguments have one shape and as many images.
package enum Elementwise {
    /// Floats of a task.
    private static let share = 1 << 14

    private static func forEachShare(_ x: Activation, _ body: (_ from: Int, _ count: Int) -> Void) {
        let shares = Parts(count: x.blocks * x.blockStride, size: share)
        ThreadPool.shared.parallel(shares.parts) { task, _ in
            body(shares.part(task).lowerBound, shares.part(task).count)
        }
    }

    /// x = max(x, 0); NaN stays NaN.
    package static func relu(_ x: Activation, kernels: KernelTable = DimKernels.selected) {
        forEachShare(x) { kernels.reluInPlace(x.pointer + $0, $1) }
    }

    /// gradient = 0 where the ReLU's output y is 0.
    package static func reluGradient(
        _ y: Activation, _ gradient: Activation, kernels: KernelTable = DimKernels.selected
    ) {
        forEachShare(y) { kernels.reluGradient(y.pointer + $0, gradient.pointer + $0, $1) }
    }

    /// x = 1 / (1 + e^-x); lanes past the last channel stay 0.
    package static func sigmoid(_ x: Activation, kernels: KernelTable = DimKernels.selected) {
        forEachShare(x) { kernels.sigmoid(x.pointer + $0, $1) }
        clearPadding(x)
    }

    /// gradient *= y (1 - y)
    package static func sigmoidGradient(
        _ y: Activation, _ gradient: Activation, kernels: KernelTable = DimKernels.selected
    ) {
        forEachShare(y) { kernels.sigmoidGradient(y.pointer + $0, gradient.pointer + $0, $1) }
    }

    // A share stays in the cache for the second of two steps.

    /// y += x, then ReLU if asked for.
    package static func add(
        _ x: Activation, into y: Activation, relu: Bool = false, kernels: KernelTable = DimKernels.selected
    ) {
        forEachShare(x) { from, count in
            kernels.add(x.pointer + from, y.pointer + from, count)
            if relu { kernels.reluInPlace(y.pointer + from, count) }
        }
    }

    /// z = x + y, then ReLU if asked for.
    package static func sum(
        _ x: Activation, _ y: Activation, into z: Activation, relu: Bool = false,
        kernels: KernelTable = DimKernels.selected
    ) {
        forEachShare(z) { from, count in
            (z.pointer + from).update(from: x.pointer + from, count: count)
            kernels.add(y.pointer + from, z.pointer + from, count)
            if relu { kernels.reluInPlace(z.pointer + from, count) }
        }
    }

    /// y = x
    package static func copy(_ x: Activation, into y: Activation) {
        forEachShare(x) { (y.pointer + $0).update(from: x.pointer + $0, count: $1) }
    }

    /// y *= mask
    package static func multiply(_ mask: Activation, into y: Activation, kernels: KernelTable = DimKernels.selected) {
        forEachShare(y) { kernels.multiply(mask.pointer + $0, y.pointer + $0, $1) }
    }

    package static func clear(_ x: Activation) {
        forEachShare(x) { (x.pointer + $0).update(repeating: 0, count: $1) }
    }

    private static func clearPadding(_ x: Activation) {
        for block in x.shape.channels / 16..<x.blocks {
            let from = max(0, x.shape.channels - block * 16)
            let target = x.block(block)
            if from == 0 {
                target.update(repeating: 0, count: x.rows * 16)
            } else {
                for row in 0..<x.rows { (target + row * 16 + from).update(repeating: 0, count: 16 - from) }
            }
        }
    }
}
