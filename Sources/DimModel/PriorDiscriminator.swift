import DimKernels
import DimOperators
import DimRuntime

/// Tells whether a vector was drawn uniformly from [0,1)^64 (notebook, class PriorDiscriminator): three linear layers and a
/// sigmoid. Everything but `probabilities` works on the logit below the sigmoid.
package struct PriorDiscriminator {
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

        init(rows: Int, _ workspace: Workspace) throws {
            self.rows = rows
            z0 = try workspace.floats("prior.z0", rows * row0)
            z1 = try workspace.floats("prior.z1", rows * row1)
            logits = try workspace.floats("prior.logits", rows)
        }

        func forward(_ state: NetworkState, _ x: UnsafePointer<Float>) {
            l0.forward(
                x, rows: rows, stride: encoded, weight: state.pointer("l0.weight"), bias: state.pointer("l0.bias"),
                into: z0, stride: row0, relu: true, scratch: nil)
            l1.forward(
                z0, rows: rows, stride: row0, weight: state.pointer("l1.weight"), bias: state.pointer("l1.bias"),
                into: z1, stride: row1, relu: true, scratch: nil)
            l2.forward(
                z1, rows: rows, stride: row1, weight: state.pointer("l2.weight"), bias: state.pointer("l2.bias"),
                into: logits, stride: 1, scratch: nil)
        }

        /// From the logits' gradient to those of the weights (where `gradients` is given) and of the input. Consumes z0, z1.
        func backward(
            _ state: NetworkState, _ x: UnsafePointer<Float>, logitGradient: UnsafePointer<Float>,
            _ gradients: Gradients?,
            into dx: UnsafeMutablePointer<Float>?, _ workspace: Workspace
        ) throws {
            let kernels = DimKernels.selected
            if let gradients {
                l2.weightGradient(
                    logitGradient, stride: 1, z1, rows: rows, stride: row1,
                    into: gradients.pointer(.priorD, "l2.weight"), bias: gradients.pointer(.priorD, "l2.bias"))
            }
            let w2 = state.pointer("l2.weight")
            for row in 0..<rows { kernels.reluOuterGradient(z1 + row * row1, logitGradient[row], w2, l2.inputs) }
            if let gradients {
                l1.weightGradient(
                    z1, stride: row1, z0, rows: rows, stride: row0, into: gradients.pointer(.priorD, "l1.weight"),
                    bias: gradients.pointer(.priorD, "l1.bias"))
            }
            let dz0 = try workspace.floats("prior.dz0", rows * row0)
            l1.inputGradient(
                z1, rows: rows, stride: row1, weight: state.pointer("l1.weight"), into: dz0, stride: row0)
            for row in 0..<rows { kernels.reluGradient(z0 + row * row0, dz0 + row * row0, l0.outputs) }
            if let gradients {
                l0.weightGradient(
                    dz0, stride: row0, x, rows: rows, stride: encoded, into: gradients.pointer(.priorD, "l0.weight"),
                    bias: gradients.pointer(.priorD, "l0.bias"))
            }
            if let dx {
                l0.inputGradient(
                    dz0, rows: rows, stride: row0, weight: state.pointer("l0.weight"), into: dx, stride: encoded,
                    accumulate: true)
            }
        }
    }

    /// encoded (n,64) -> probabilities (n).
    static func probabilities(
        _ state: NetworkState, encoded x: UnsafePointer<Float>, count n: Int,
        into probabilities: UnsafeMutablePointer<Float>, _ workspace: Workspace
    ) throws {
        var from = 0
        while from < n {
            let pass = try Pass(rows: min(block, n - from), workspace)
            pass.forward(state, x + from * encoded)
            for i in 0..<pass.rows { probabilities[from + i] = Float(Losses.sigmoid(Double(pass.logits[i]))) }
            from += pass.rows
        }
    }

    /// One block's share of the prior term: -log D(u_i) - log(1 - D(y_i)) for each of its images. u, y (count, 64).
    static func losses(
        _ state: NetworkState, encoded y: UnsafePointer<Float>, noise u: UnsafePointer<Float>, count n: Int,
        into losses: UnsafeMutablePointer<Double>, _ workspace: Workspace
    ) throws {
        let pass = try forward(state, encoded: y, noise: u, count: n, workspace).pass
        for i in 0..<n {
            losses[i] = Losses.softplus(-Double(pass.logits[i])) + Losses.softplus(Double(pass.logits[n + i]))
        }
    }

    /// Rows 0 ..< n are u, rows n ..< 2n are y.
    private static func forward(
        _ state: NetworkState, encoded y: UnsafePointer<Float>, noise u: UnsafePointer<Float>, count n: Int,
        _ workspace: Workspace
    ) throws -> (pass: Pass, x: UnsafeMutablePointer<Float>) {
        let x = try workspace.floats("prior.x", 2 * n * encoded)
        x.update(from: u, count: n * encoded)
        (x + n * encoded).update(from: y, count: n * encoded)
        let pass = try Pass(rows: 2 * n, workspace)
        pass.forward(state, x)
        return (pass, x)
    }

    /// What the encoder minimises of the prior term.
    package enum EncoderTerm {
        /// There is no prior term.
        case none
        /// The term itself, as the discriminator.
        case monolithic
        /// -mean log D(y).
        case adversarial
    }

    /// The prior term, -(mean log D(u) + mean log(1 - D(y))), and, scaled by `weight`, its gradients: the discriminator's of the
    /// term, the encoder's of `term`. noise u (n,64). Adds to `encodedGradient`.
    static func objective(
        _ state: NetworkState, encoded y: UnsafePointer<Float>, noise u: UnsafePointer<Float>, count n: Int,
        weight: Double, term: EncoderTerm, gradients: Gradients, encodedGradient: UnsafeMutablePointer<Float>,
        _ workspace: Workspace
    ) throws -> Double {
        let (pass, x) = try forward(state, encoded: y, noise: u, count: n, workspace)
        let dLogits = try workspace.floats("prior.dlogits", 2 * n)
        var loss = 0.0
        let scale = weight / Double(n)
        for i in 0..<n {
            let ofNoise = Double(pass.logits[i]), ofEncoded = Double(pass.logits[n + i])
            loss += Losses.softplus(-ofNoise) + Losses.softplus(ofEncoded)
            dLogits[i] = Float(-Losses.sigmoid(-ofNoise) * scale)
            dLogits[n + i] = Float(Losses.sigmoid(ofEncoded) * scale)
        }
        loss /= Double(n)
        let dx = try workspace.floats("prior.dx", 2 * n * encoded)
        dx.update(repeating: 0, count: 2 * n * encoded)
        switch term {
        case .none: break
        case .monolithic:
            try pass.backward(state, x, logitGradient: dLogits, gradients, into: dx, workspace)
        case .adversarial:
            try pass.backward(state, x, logitGradient: dLogits, gradients, into: nil, workspace)
            // The same network once more, for the other loss: d softplus(-t) / dt = -sigmoid(-t).
            let again = try Pass(rows: n, workspace)
            again.forward(state, y)
            for i in 0..<n { dLogits[i] = Float(-Losses.sigmoid(-Double(again.logits[i])) * scale) }
            try again.backward(state, y, logitGradient: dLogits, nil, into: dx + n * encoded, workspace)
        }
        DimKernels.selected.add(dx + n * encoded, encodedGradient, n * encoded)
        return loss
    }
}
