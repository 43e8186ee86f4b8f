import DimKernels
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

    /// Step number `t`, counted from 1, over one network's parameters.
    func update(_ state: NetworkState, _ gradients: Gradients, _ options: AdamOptions, step t: Int) {
        let step = AdamStep(
            learningRate: options.learningRate, beta1: options.beta1, beta2: options.beta2, epsilon: options.epsilon,
            weightDecay: options.weightDecay, rootCorrection: (1 - pow(options.beta2, Double(t))).squareRoot(),
            correction1: 1 - pow(options.beta1, Double(t)))
        let kernels = DimKernels.selected
        for entry in gradients.entries where entry.spec.network == state.network && entry.spec.isTrainable {
            let weights = state.pointer(entry.spec.key)
            let count = entry.spec.count
            ThreadPool.shared.parallel((count + AdamMoments.chunk - 1) / AdamMoments.chunk) { task, _ in
                let from = task * AdamMoments.chunk
                let at = entry.offset + from
                kernels.adam(
                    weights + from, gradients.buffer.pointer + at, self.first.pointer + at, self.second.pointer + at,
                    min(AdamMoments.chunk, count - from), step)
            }
        }
    }
}
