import DimArchitecture
import DimKernels
import DimOperators
import DimRuntime
import Testing

/// 1x1 convolutions of mixed precision against the formula over rounded terms, forward and backward.
@Suite(.serialized) struct MixedPrecisionTests {
    static let sizes: [ConvolutionSize] = [
        .init(2, MapShape(channels: 32, height: 13, width: 11), 64),
        .init(3, MapShape(channels: 96, height: 8, width: 8), 48),
        .init(5, MapShape(channels: 608), 65),
        .init(70, MapShape(channels: 64), 1),
        .init(40, MapShape(channels: 288, height: 3, width: 3), 300),
        .init(2, MapShape(channels: 32, height: 3, width: 5), 41, weightInputs: 100, first: 64),
    ]

    @Test(.enabled(if: Precision.hasMixed), arguments: sizes.indices)
    func matchesTheFormula(index: Int) throws {
        let size = MixedPrecisionTests.sizes[index]
        let seed = UInt64(10 * index)
        let convolution = PatchConvolution(
            input: size.input, outputs: size.outputs, weightInputs: size.weightInputs, firstInput: size.first)
        let x = randomValues(size.n * size.input.size, seed: seed)
        let w = randomValues(size.outputs * size.weightInputs, seed: seed + 1)
        let b = randomValues(size.outputs, seed: seed + 2)
        let dy = randomValues(size.n * size.output.size, seed: seed + 3)
        let before = randomValues(x.count, seed: seed + 4)

        let input = try Maps(x, size.input, images: size.n), output = try Maps(size.output, images: size.n)
        let gradient = try Maps(dy, size.output, images: size.n), dx = try Maps(before, size.input, images: size.n)
        let weights = try Buffer(w), bias = try padded(b), scratch = try Scratch(convolution.scratch(images: size.n))
        let packed = try Scratch(max(convolution.packedCount(.training), convolution.packedCount(.dataGradient)))
        let dw = try ones(w.count), db = try ones(b.count)
        convolution.pack(weights.pointer, .training, precision: .mixed, into: packed.pointer)
        convolution.forward(
            input.activation, packed: packed.pointer, .training, precision: .mixed, bias: bias.pointer,
            into: output.activation, scratch: scratch.shared)
        convolution.weightGradient(
            input.activation, gradient.activation, precision: .mixed, into: dw.pointer, bias: db.pointer,
            scratch: scratch.shared)
        convolution.pack(weights.pointer, .dataGradient, precision: .mixed, into: packed.pointer)
        convolution.dataGradient(
            gradient.activation, packed: packed.pointer, precision: .mixed, into: dx.activation, accumulate: true,
            scratch: scratch.shared)
        try scratch.check()
        try packed.check()

        func rounded(_ values: [Float], _ map: (Double) -> Double) -> [Double] {
            values.map { map(Double(Reference.bfloat16($0))) }
        }
        func expected(_ map: (Double) -> Double) -> [[Double]] {
            let y = ReferenceOperators.convolution(
                rounded(x, map), rounded(w, map), b.map { map(Double($0)) }, n: size.n, size.input,
                outputs: size.outputs, weightInputs: size.weightInputs, first: size.first, size.window)
            let g = ReferenceOperators.convolutionGradients(
                rounded(x, map), rounded(w, map), rounded(dy, map), n: size.n, size.input, outputs: size.outputs,
                weightInputs: size.weightInputs, first: size.first, size.window)
            let exact = ReferenceOperators.convolutionGradients(
                x.map(Double.init), w.map(Double.init), dy.map { map(Double($0)) }, n: size.n, size.input,
                outputs: size.outputs, weightInputs: size.weightInputs, first: size.first, size.window)
            return [y, zip(g.dx, before).map { $0 + map(Double($1)) }, g.dw, exact.db]
        }
        let (values, magnitudes) = (expected { $0 }, expected(abs))
        let found = [try output.planar(), try dx.planar(), less1(dw), less1(db)]
        let depth = max(size.input.channels, size.outputs, size.n * size.output.pixels)
        for (which, name) in ["y", "dx", "dw", "db"].enumerated() {
            try #require(found[which].count == values[which].count)
            for i in found[which].indices {
                let bound = Double(depth + 4) * Double(Float.ulpOfOne) * (magnitudes[which][i] + 1)
                let error = abs(Double(found[which][i]) - values[which][i])
                guard error <= bound else {
                    Issue.record("\(size): \(name)[\(i)] is \(found[which][i]), expected \(values[which][i])")
                    return
                }
            }
        }
    }

    /// Layers that have no such products are what they were.
    @Test(.enabled(if: Precision.hasMixed)) func otherLayersStay() throws {
        for (input, kernel) in [(MapShape(channels: 20), 1), (MapShape(channels: 32, height: 6, width: 6), 3)] {
            let convolution = PatchConvolution(
                input: input, outputs: 40, kernel: (kernel, kernel), algorithm: .patches)
            let x = try Maps(randomValues(3 * input.size, seed: 1), input, images: 3)
            let weights = try Buffer(randomValues(40 * input.channels * kernel * kernel, seed: 2))
            let scratch = try Scratch(convolution.scratch(images: 3))
            let results = try [Precision.float32, .mixed].map { precision in
                let y = try Maps(convolution.output, images: 3)
                let packed = try Buffer(uninitialized: convolution.packedCount(.training))
                convolution.pack(weights.pointer, .training, precision: precision, into: packed.pointer)
                convolution.forward(
                    x.activation, packed: packed.pointer, .training, precision: precision, into: y.activation,
                    scratch: scratch.shared)
                return try y.planar()
            }
            #expect(results[0] == results[1])
        }
    }
}
