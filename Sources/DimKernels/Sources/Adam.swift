import CVectors
import DimKernelTypes

/// How far ahead memory is asked for.
private let adamAhead = 512

/// One step of Adam (Kingma and Ba, arXiv:1412.6980) over `count` values, in the order of operations of torch.optim.Adam:
///
///     g += weightDecay w;  m += (g - m)(1 - beta1);  v = v beta2 + (1 - beta2) g g
///     new = w - stepSize m / (sqrt(v) / rootCorrection + epsilon)
package func adam(
    _ w: UnsafePointer<Float>, _ gradient: UnsafePointer<Float>, _ m: UnsafeMutablePointer<Float>,
    _ v: UnsafeMutablePointer<Float>, _ new: UnsafeMutablePointer<Float>, _ count: Int, _ step: AdamStep
) {
    let oneMinusBeta1 = Vector(repeating: step.oneMinusBeta1)
    let beta2 = Vector(repeating: step.beta2)
    let oneMinusBeta2 = Vector(repeating: step.oneMinusBeta2)
    let rootCorrection = Vector(repeating: step.rootCorrection)
    let epsilon = Vector(repeating: step.epsilon)
    let stepSize = Vector(repeating: step.stepSize)
    let decay = Vector(repeating: step.weightDecay)
    let whole = count / lanes &* lanes
    var i = 0
    while i < whole {
        // The caller continues where this part ends: the hardware prefetcher stops at each page of 4 KB.
        dim_prefetch(w + (i &+ adamAhead))
        dim_prefetch(gradient + (i &+ adamAhead))
        dim_prefetch_for_write(m + (i &+ adamAhead))
        dim_prefetch_for_write(v + (i &+ adamAhead))
        dim_prefetch_for_write(new + (i &+ adamAhead))
        let weight = load(w + i)
        let g = multiplyAdd(decay, weight, load(gradient + i))
        let m1 = load(m + i)
        let newM = multiplyAdd(g - m1, oneMinusBeta1, m1)
        let newV = multiplyAdd(g * oneMinusBeta2, g, load(v + i) * beta2)
        store(newM, m + i)
        store(newV, v + i)
        let root = squareRoot(newV) / rootCorrection + epsilon
        store(weight - stepSize * (newM / root), new + i)
        i &+= lanes
    }
    while i < count {
        let g = gradient[i] + step.weightDecay * w[i]
        let newM = m[i] + (g - m[i]) * step.oneMinusBeta1
        let newV = v[i] * step.beta2 + g * step.oneMinusBeta2 * g
        m[i] = newM
        v[i] = newV
        new[i] = w[i] - step.stepSize * (newM / (newV.squareRoot() / step.rootCorrection + step.epsilon))
        i &+= 1
    }
}
