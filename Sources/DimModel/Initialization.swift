import DimArchitecture
import DimRuntime

/// PyTorch's default initialisation, bit for bit: `torch.manual_seed(seed)`, then the constructors of the architecture's
/// networks in their order. Verified against PyTorch in Tests/golden.
enum Initialization {
    /// The generator has the state of PyTorch's after the constructors.
    static func values(
        _ architecture: Architecture, _ generator: inout MersenneTwister
    ) throws -> [Network: [ParameterValue]] {
        var result: [Network: [ParameterValue]] = [:]
        for network in architecture.networks {
            result[network] = try architecture.parameters(of: network).map { try value(of: $0, &generator) }
        }
        return result
    }

    private static func value(of spec: ParameterSpec, _ generator: inout MersenneTwister) throws -> ParameterValue {
        switch spec.role {
        case .drawn(let fanIn):
            let buffer = try Buffer(uninitialized: spec.count)
            fillUniform(buffer, bound: Float(1 / Double(fanIn).squareRoot()), &generator)
            return .floats(buffer)
        case .authorsShortcut(let fanIn):
            let buffer = try Buffer(uninitialized: spec.count)
            fillUniform(buffer, bound: Float(1 / Double(fanIn).squareRoot()), &generator)
            if spec.shape[0] >= fanIn {
                fillUniform(buffer, bound: 0.01, &generator)
                for i in 0..<fanIn { buffer.pointer[i * fanIn + i] = 1 }
            }
            return .floats(buffer)
        case .ones, .runningVar:
            let buffer = try Buffer(uninitialized: spec.count)
            buffer.pointer.update(repeating: 1, count: spec.count)
            return .floats(buffer)
        case .zeros, .runningMean:
            return .floats(try Buffer(zeros: spec.count))
        case .batchCount:
            return .counter(0)
        }
    }

    /// `Tensor.uniform_(-bound, bound)`: u * (to - from) + from with one rounding, as PyTorch's fused multiply-add does.
    /// The product of two floats and the sum fit a double exactly, so the only rounding is the last.
    private static func fillUniform(_ buffer: Buffer, bound: Float, _ generator: inout MersenneTwister) {
        let range = Double(bound - -bound)
        let from = Double(-bound)
        let block = 4096  // Stays in the first-level cache between the two loops.
        for first in stride(from: 0, to: buffer.count, by: block) {
            let values = buffer.pointer + first
            let count = min(block, buffer.count - first)
            generator.uniforms(into: values, count: count)
            for i in 0..<count { values[i] = Float(Double(values[i]) * range + from) }
        }
    }
}
