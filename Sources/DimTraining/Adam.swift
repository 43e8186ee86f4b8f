import DimKernels
import DimModel
import DimRuntime
import Glibc

/// torch.optim.Adam's settings.
package struct AdamOptions: Equatable {
    package var learningRate = 1e-4
    package var beta1 = 0.9
    package var beta2 = 0.999
    package var epsilon = 1e-8
    package var weightDecay = 0.0

    package init() {}

    /// Step number `t`, counted from 1.
    func step(_ t: Int) -> AdamStep {
        AdamStep(
            learningRate: learningRate, beta1: beta1, beta2: beta2, epsilon: epsilon, weightDecay: weightDecay,
            rootCorrection: (1 - pow(beta2, Double(t))).squareRoot(), correction1: 1 - pow(beta1, Double(t)))
    }
}

/// The moments of every trainable parameter of a `Gradients`, in its layout. One object serves several optimisers that differ
/// in their options alone: a call updates one network's parameters.
final class AdamMoments {
    let first: Buffer
    let second: Buffer

    init(first: Buffer, second: Buffer) {
        self.first = first
        self.second = second
    }

    /// Values that one task updates.
    private static let chunk = 1 << 16
    /// Values of one call of the kernel: a rehearsal's copies of them stay in the nearest cache.
    private static let part = 1 << 12

    /// One step over one network's parameters: the moments in place, the weights from `state` into `new`, whose buffers are
    /// at the places of the state's values.
    func update(_ state: NetworkState, _ gradients: Gradients, _ step: AdamStep, into new: [Int: Buffer]) {
        let kernels = DimKernels.selected
        for entry in gradients.entries(of: state.network) {
            let old = state.pointer(entry.index), weights = new[entry.index]!.pointer
            AdamMoments.inParts(entry.spec.count) { _, from, count in
                let at = entry.offset + from
                kernels.adam(
                    old + from, gradients.buffer.pointer + at, self.first.pointer + at, self.second.pointer + at,
                    weights + from, count, step)
            }
        }
    }

    /// Whether the same step would leave all weights and moments finite; nothing is changed.
    func staysFinite(_ state: NetworkState, _ gradients: Gradients, _ step: AdamStep) throws -> Bool {
        let kernels = DimKernels.selected
        let part = AdamMoments.part
        let workers = ThreadPool.shared.threads
        let scratch = try Buffer(uninitialized: workers * 3 * part)
        let faults = try DoubleBuffer(zeros: workers)
        for entry in gradients.entries(of: state.network) {
            let old = state.pointer(entry.index)
            AdamMoments.inParts(entry.spec.count, workers: workers) { worker, from, count in
                let at = entry.offset + from
                let w = scratch.pointer + worker * 3 * part, m = w + part, v = m + part
                m.update(from: self.first.pointer + at, count: count)
                v.update(from: self.second.pointer + at, count: count)
                kernels.adam(old + from, gradients.buffer.pointer + at, m, v, w, count, step)
                for values in [w, m, v] where !kernels.allFinite(values, count) { faults.pointer[worker] = 1 }
            }
        }
        return (0..<workers).allSatisfy { faults.pointer[$0] == 0 }
    }

    private static func inParts(
        _ count: Int, workers: Int = .max, _ body: (_ worker: Int, _ from: Int, _ count: Int) -> Void
    ) {
        ThreadPool.shared.parallel((count + chunk - 1) / chunk, workers: workers) { task, worker in
            let end = min(count, (task + 1) * chunk)
            for from in stride(from: task * chunk, to: end, by: part) { body(worker, from, min(part, end - from)) }
        }
    }
}

/// What is known of the largest |w|, |m| and v. A step that provably cannot overflow, nor divide 0 by 0, needs no rehearsal.
struct AdamBounds {
    var weight: Double
    var first: Double
    var second: Double

    /// The same after a step over gradients up to `gradient`; nil where no proof comes of it.
    func after(_ step: AdamStep, gradient: Double) -> AdamBounds? {
        // Float32 ends at 3.4e38; the margin covers every rounding between.
        let limit = 1e37
        let g = gradient + Double(step.weightDecay) * weight
        let m = max(first, g), v = max(second, g * g)
        let ratio = m / Double(step.epsilon)
        let w = weight + Double(step.stepSize) * ratio
        guard step.epsilon > 1e-30, step.rootCorrection > 0, g + m < limit, v < limit,
            v.squareRoot() / Double(step.rootCorrection) < limit, ratio < limit, Double(step.stepSize) < limit,
            w < limit
        else { return nil }
        let rounding = 1 + 1e-5
        return AdamBounds(weight: w * rounding, first: m * rounding, second: v * rounding)
    }
}
