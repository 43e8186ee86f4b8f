import DimArchitecture
import DimKernels
import DimOperators
import DimRuntime

/// Scores whether a vector was drawn uniformly from [0,1)^64 (notebook, class PriorDiscriminator): three linear layers
/// and a sigmoid. Everything but `probabilities` works on the logit before the sigmoid.
package enum FusedPriorDiscriminator {
    private static let ids = ParameterIDs(Architecture.notebook.parameters(of: .priorD))
    private static let (l0IDs, l1IDs, l2IDs) = (LayerIDs(ids, "l0"), LayerIDs(ids, "l1"), LayerIDs(ids, "l2"))
    static let encoded = 64
    private static let l0 = Linear(inputs: encoded, outputs: 1000)
    private static let l1 = Linear(inputs: 1000, outputs: 200)
    private static let l2 = Linear(inputs: 200, outputs: 1)
    /// Rows have room for the widest vector past their end.
    private static let row0 = 1024
    private static let row1 = 240
    /// Rows in flight in `probabilities`.
    private static let block = 256

    /// One pass over `rows` vectors.
    private struct Pass {
        let rows: Int
        let z0, z1, logits: UnsafeMutablePointer<Float>

        init(rows: Int, _ arena: Arena) throws {
            self.rows = rows
            z0 = try arena.floats(.priorZ0, rows * row0)
            z1 = try arena.floats(.priorZ1, rows * row1)
            logits = try arena.floats(.priorLogits, rows)
        }

        func forward(_ state: NetworkState, _ x: UnsafePointer<Float>) {
            l0.forward(
                x, rows: rows, stride: encoded, weight: state.pointer(l0IDs.weight), bias: state.pointer(l0IDs.bias),
                into: z0, stride: row0, relu: true, scratch: nil)
            l1.forward(
                z0, rows: rows, stride: row0, weight: state.pointer(l1IDs.weight), bias: state.pointer(l1IDs.bias),
                into: z1, stride: row1, relu: true, scratch: nil)
            l2.forward(
                z1, rows: rows, stride: row1, weight: state.pointer(l2IDs.weight), bias: state.pointer(l2IDs.bias),
                into: logits, stride: 1, scratch: nil)
        }

        /// From the logits' gradient to those of the weights (where `gradients` is given) and of the input. Consumes z0, z1.
        func backward(
            _ state: NetworkState, _ x: UnsafePointer<Float>, logitGradient: UnsafePointer<Float>,
            _ gradients: (any GradientTarget)?,
            into dx: UnsafeMutablePointer<Float>?, _ arena: Arena
        ) throws {
            let kernels = DimKernels.selected
            if let gradients {
                l2.weightGradient(
                    logitGradient, stride: 1, z1, rows: rows, stride: row1,
                    into: gradients.pointer(.priorD, l2IDs.weight), bias: gradients.pointer(.priorD, l2IDs.bias))
            }
            let w2 = state.pointer(l2IDs.weight)
            for row in 0..<rows { kernels.reluOuterGradient(z1 + row * row1, logitGradient[row], w2, l2.inputs) }
            if let gradients {
                l1.weightGradient(
                    z1, stride: row1, z0, rows: rows, stride: row0, into: gradients.pointer(.priorD, l1IDs.weight),
                    bias: gradients.pointer(.priorD, l1IDs.bias))
            }
            let dz0 = try arena.floats(.priorZ0Gradient, rows * row0)
            l1.inputGradient(
                z1, rows: rows, stride: row1, weight: state.pointer(l1IDs.weight), into: dz0, stride: row0)
            for row in 0..<rows { kernels.reluGradient(z0 + row * row0, dz0 + row * row0, l0.outputs) }
            if let gradients {
                l0.weightGradient(
                    dz0, stride: row0, x, rows: rows, stride: encoded, into: gradients.pointer(.priorD, l0IDs.weight),
                    bias: gradients.pointer(.priorD, l0IDs.bias))
            }
            if let dx {
                l0.inputGradient(
                    dz0, rows: rows, stride: row0, weight: state.pointer(l0IDs.weight), into: dx, stride: encoded,
                    accumulate: true)
            }
        }
    }

    /// encoded (n,64) -> probabilities (n).
    package static func probabilities(
        _ state: NetworkState, encoded x: UnsafePointer<Float>, count n: Int,
        into probabilities: UnsafeMutablePointer<Float>, _ arena: Arena
    ) throws {
        var from = 0
        while from < n {
            let pass = try Pass(rows: min(block, n - from), arena)
            pass.forward(state, x + from * encoded)
            for i in 0..<pass.rows { probabilities[from + i] = Float(Logistic.sigmoid(Double(pass.logits[i]))) }
            from += pass.rows
        }
    }

    /// One block's share of the prior term: -log D(u_i) - log(1 - D(y_i)) for each of its images. u, y (count, 64).
    package static func losses(
        _ state: NetworkState, encoded y: UnsafePointer<Float>, noise u: UnsafePointer<Float>, count n: Int,
        into losses: UnsafeMutablePointer<Double>, _ arena: Arena
    ) throws {
        let pass = try forward(state, encoded: y, noise: u, count: n, arena).pass
        for i in 0..<n {
            losses[i] = Logistic.softplus(-Double(pass.logits[i])) + Logistic.softplus(Double(pass.logits[n + i]))
        }
    }

    /// Rows 0 ..< n are u, rows n ..< 2n are y.
    private static func forward(
        _ state: NetworkState, encoded y: UnsafePointer<Float>, noise u: UnsafePointer<Float>, count n: Int,
        _ arena: Arena
    ) throws -> (pass: Pass, x: UnsafeMutablePointer<Float>) {
        let x = try arena.floats(.priorInput, 2 * n * encoded)
        x.update(from: u, count: n * encoded)
        (x + n * encoded).update(from: y, count: n * encoded)
        let pass = try Pass(rows: 2 * n, arena)
        pass.forward(state, x)
        return (pass, x)
    }

    /// The prior term, -(mean log D(u) + mean log(1 - D(y))), and, scaled by `weight`, its gradients: the discriminator's of the
    /// term, the encoder's of it or, where `adversarial`, of -mean log D(y). noise u (n,64). Adds to `encodedGradient`.
    package static func objective(
        _ state: NetworkState, encoded y: UnsafePointer<Float>, noise u: UnsafePointer<Float>, count n: Int,
        weight: Double, adversarial: Bool, gradients: any GradientTarget, encodedGradient: UnsafeMutablePointer<Float>,
        _ arena: Arena
    ) throws -> Double {
        let (pass, x) = try forward(state, encoded: y, noise: u, count: n, arena)
        let dLogits = try arena.floats(.priorLogitGradient, 2 * n)
        var loss = 0.0
        let scale = weight / Double(n)
        for i in 0..<n {
            let ofNoise = Double(pass.logits[i]), ofEncoded = Double(pass.logits[n + i])
            loss += Logistic.softplus(-ofNoise) + Logistic.softplus(ofEncoded)
            dLogits[i] = Float(-Logistic.sigmoid(-ofNoise) * scale)
            dLogits[n + i] = Float(Logistic.sigmoid(ofEncoded) * scale)
        }
        loss /= Double(n)
        let dx = try arena.floats(.priorInputGradient, 2 * n * encoded)
        dx.update(repeating: 0, count: 2 * n * encoded)
        try pass.backward(state, x, logitGradient: dLogits, gradients, into: adversarial ? nil : dx, arena)
        if adversarial {
            // The same network once more, for the other loss: d softplus(-t) / dt = -sigmoid(-t).
            let again = try Pass(rows: n, arena)
            again.forward(state, y)
            for i in 0..<n { dLogits[i] = Float(-Logistic.sigmoid(-Double(again.logits[i])) * scale) }
            try again.backward(state, y, logitGradient: dLogits, nil, into: dx + n * encoded, arena)
        }
        DimKernels.selected.add(dx + n * encoded, encodedGradient, n * encoded)
        return loss
    }
}
