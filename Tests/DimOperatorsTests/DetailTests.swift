import DimArchitecture
import DimKernels
import DimOperators
import DimRuntime
import Testing

/// What the table of operators does not say: epilogues, running statistics, ties, random masks. Numbers from PyTorch 2.15.
@Suite struct DetailTests {
    private static let epsilon = Double(Float.ulpOfOne)

    // MARK: Convolution

    /// Seven parts for two threads leave one of them waiting for an eighth of the time.
    @Test func threadsHaveEqualPieces() {
        #expect(equalPiece(of: 256, atMost: 39) == 37)
        #expect(equalPiece(of: 256, atMost: 39, threads: 2) == 32)
        for total in [1, 2, 13, 255, 256, 1000] {
            for most in [1, 13, 39, 2000] {
                for threads in [1, 2, 3, 8] where total >= threads {
                    let piece = equalPiece(of: total, atMost: most, threads: threads)
                    let pieces = (total + piece - 1) / piece
                    #expect(
                        piece <= most && (pieces + threads - 1) / threads * threads * piece < total + threads * piece)
                }
            }
        }
    }

    @Test(arguments: KernelTable.supported.map(\.name))
    func scaleBiasAndRelu(table: String) throws {
        let kernels = try #require(KernelTable.named(table))
        for (channels, algorithm) in [(3, .patches), (40, .patches), (40, PatchConvolution.Algorithm.winograd(m: 4))] {
            let input = MapShape(channels: channels, height: 7, width: 6)
            let layer = PatchConvolution(
                input: input, outputs: 33, kernel: (3, 3), padding: (1, 1), algorithm: algorithm, kernels: kernels)
            let n = 2
            let (x, w) = (randomValues(n * input.size, seed: 1), randomValues(33 * channels * 9, seed: 2))
            let (scale, bias) = (randomValues(33, seed: 3), randomValues(33, seed: 4))
            let packed = try Scratch(layer.packedCount(.forward))
            let scratch = try Scratch(layer.scratch(images: n))
            let y = try Maps(layer.output, images: n)
            let (maps, scales, biases) = (try Maps(x, input, images: n), try padded(scale), try padded(bias))
            layer.pack(w, .forward, into: packed.pointer)
            withExtendedLifetime((maps, scales, biases, packed, scratch)) {
                layer.forward(
                    maps.activation, packed: packed.pointer, scale: scales.pointer, bias: biases.pointer, relu: true,
                    into: y.activation, scratch: scratch.shared)
            }
            let bare = ReferenceOperators.convolution(
                x.map(Double.init), w.map(Double.init), [Double](repeating: 0, count: 33), n: n, input, outputs: 33,
                weightInputs: channels, first: 0, .init(kernel: (3, 3), padding: (1, 1)))
            let bound = Double(channels * 9 + 4) * DetailTests.epsilon * Double(channels * 9)
            for (i, found) in try y.planar().enumerated() {
                let o = i / layer.output.pixels % 33
                let expected = max(0, bare[i] * Double(scale[o]) + Double(bias[o]))
                #expect(abs(Double(found) - expected) <= bound, "\(table) \(channels) channels, output \(i)")
            }
        }
    }

    /// A residual block's sum, as the product ends: the bytes of the sum after it.
    @Test(arguments: KernelTable.supported.map(\.name))
    func addingIsTheSumAfterwards(table: String) throws {
        let kernels = try #require(KernelTable.named(table))
        for (channels, kernel, outputs, n) in [(40, 1, 33, 300), (320, 1, 64, 2), (5, 3, 16, 3), (32, 3, 100, 9)] {
            let input = MapShape(channels: channels, height: 5, width: 4)
            let layer = PatchConvolution(
                input: input, outputs: outputs, kernel: (kernel, kernel), padding: (kernel / 2, kernel / 2),
                algorithm: .patches, kernels: kernels)
            #expect(layer.canAdd(.forward, .float32))
            let w = randomValues(outputs * channels * kernel * kernel, seed: 2)
            let (packed, scratch) = (try Scratch(layer.packedCount(.forward)), try Scratch(layer.scratch(images: n)))
            layer.pack(w, .forward, into: packed.pointer)
            let x = try Maps(randomValues(n * input.size, seed: 1), input, images: n)
            let other = try Maps(randomValues(n * layer.output.size, seed: 3), layer.output, images: n)
            let (scale, bias) = (try padded(randomValues(outputs, seed: 4)), try padded(randomValues(outputs, seed: 5)))
            let (separate, together) = (try Maps(layer.output, images: n), try Maps(layer.output, images: n))
            for relu in [false, true] {
                withExtendedLifetime((x, other, scale, bias, packed, scratch)) {
                    layer.forward(
                        x.activation, packed: packed.pointer, scale: scale.pointer, bias: bias.pointer,
                        into: separate.activation, scratch: scratch.shared)
                    Elementwise.add(other.activation, into: separate.activation, relu: relu, kernels: kernels)
                    layer.forward(
                        x.activation, packed: packed.pointer, scale: scale.pointer, bias: bias.pointer,
                        adding: other.activation, relu: relu, into: together.activation, scratch: scratch.shared)
                }
                #expect(try together.planar() == separate.planar(), "\(table) \(channels) to \(outputs), \(kernel)")
            }
        }
    }

    /// In training mode a layer is computed by the tiles, and from the weights, that are chosen for it.
    @Test func trainingHasTilesOfItsOwn() throws {
        let input = MapShape(channels: 64, height: 32, width: 32)
        func layer(_ algorithm: PatchConvolution.Algorithm) -> PatchConvolution {
            PatchConvolution(
                input: input, outputs: 128, kernel: (4, 4), stride: (2, 2), padding: (1, 1), algorithm: algorithm)
        }
        let (x, w) = (randomValues(input.size, seed: 1), randomValues(128 * 64 * 16, seed: 2))
        func output(_ layer: PatchConvolution, _ direction: PatchConvolution.Direction) throws -> [Float] {
            let packed = try Scratch(layer.packedCount(direction))
            let scratch = try Scratch(layer.scratch(images: 1))
            let (maps, y) = (try Maps(x, input, images: 1), try Maps(layer.output, images: 1))
            layer.pack(w, direction, into: packed.pointer)
            withExtendedLifetime((maps, packed, scratch)) {
                layer.forward(
                    maps.activation, packed: packed.pointer, direction, into: y.activation, scratch: scratch.shared)
            }
            return try y.planar()
        }
        guard !Convolution.isForcedDirect else { return }
        let chosen = layer(.fastest)
        #expect(!chosen.trainsAlike)
        #expect(try output(chosen, .forward) == output(layer(.winograd(m: 4)), .forward))
        #expect(try output(chosen, .training) == output(layer(.winograd(m: 2)), .training))
        #expect(try output(chosen, .training) != output(chosen, .forward))
    }

    /// What the cost model chooses at the presets' sizes, m forward in both modes, for the data gradient and the weight gradient.
    @Test func algorithmOfEachSize() throws {
        typealias Case = (input: MapShape, outputs: Int, kernel: Int, stride: Int, padding: Int, m: [Int?])
        func map(_ channels: Int, _ side: Int) -> MapShape { MapShape(channels: channels, height: side, width: side) }
        let cases: [Case] = [
            (map(3, 32), 64, 4, 2, 1, [nil, nil, nil, nil]),  // basic32: c0, c1, c2
            (map(64, 16), 128, 4, 2, 1, [4, 2, 2, 2]),
            (map(128, 8), 256, 4, 2, 1, [2, 2, 2, 2]),
            (map(64, 32), 128, 4, 2, 1, [4, 2, 2, 2]),  // basic64: c1
            (map(64, 14), 128, 5, 2, 2, [4, nil, nil, nil]),  // basic28: c1
            (map(192, 15), 384, 3, 1, 1, [4, nil, nil, nil]),  // alex64: c2
            (map(512, 8), 512, 1, 1, 0, [nil, nil, nil, nil]),
            (map(32, 20), 64, 11, 1, 5, [nil, nil, nil, nil]),  // no transforms
            (map(32, 20), 64, 4, 3, 1, [nil, nil, nil, nil]),  // 9 phases of 9 points, for 16 places
            (map(32, 20), 64, 4, 1, 1, [3, nil, nil, nil]),
        ]
        for (input, outputs, kernel, stride, padding, m) in cases where !Convolution.isForcedDirect {
            let layer = PatchConvolution(
                input: input, outputs: outputs, kernel: (kernel, kernel), stride: (stride, stride),
                padding: (padding, padding))
            #expect(layer.tiles == m, "\(input), \(kernel)/\(stride)")
        }
    }

    @Test func dataGradientAccumulates() throws {
        let windows: [(ReferenceOperators.Window, PatchConvolution.Algorithm)] = [
            (.init(), .patches), (.init(kernel: (3, 3), padding: (1, 1)), .patches), (.init(stride: (2, 2)), .patches),
            (.init(kernel: (4, 4), stride: (2, 2), padding: (1, 1)), .winograd(m: 2)),
        ]
        for (window, algorithm) in windows {
            let input = MapShape(channels: 20, height: 6, width: 5)
            let layer = PatchConvolution(
                input: input, outputs: 17, kernel: window.kernel, stride: window.stride, padding: window.padding,
                algorithm: algorithm)
            let n = 3
            let w = randomValues(17 * 20 * window.kernel.0 * window.kernel.1, seed: 1)
            let dy = try Maps(randomValues(n * layer.output.size, seed: 2), layer.output, images: n)
            let before = randomValues(n * input.size, seed: 3)
            let packed = try Scratch(layer.packedCount(.dataGradient))
            let scratch = try Scratch(layer.scratch(images: n))
            layer.pack(w, .dataGradient, into: packed.pointer)
            let (fresh, added) = (try Maps(input, images: n), try Maps(before, input, images: n))
            withExtendedLifetime((dy, packed, scratch)) {
                for (target, accumulate) in [(fresh, false), (added, true)] {
                    layer.dataGradient(
                        dy.activation, packed: packed.pointer, into: target.activation, accumulate: accumulate,
                        scratch: scratch.shared)
                }
            }
            for ((sum, part), old) in zip(zip(try added.planar(), try fresh.planar()), before) {
                #expect(abs(Double(sum) - Double(part) - Double(old)) <= 200 * DetailTests.epsilon, "\(window)")
            }
        }
    }

    // MARK: Norms

    /// BatchNorm1d(2) on three rows.
    @Test func runningStatistics() throws {
        let layer = ActivationBatchNorm(channels: 2)
        let z = try Maps([1, 10, 2, 20, 4, -5], MapShape(channels: 2), images: 3)
        let statistics = try withExtendedLifetime(z) {
            try layer.statistics(z.activation, weight: [1, 1], bias: [0, 0])
        }
        let steps = layer.steps(statistics)
        let (mean, variance) = (steps.mean.map { Float($0) }, steps.variance.map { Float(0.9 + $0) })
        #expect(mean == [0.23333333432674408, 0.8333333134651184])
        let expected: [Float] = [1.1333333253860474, 16.733335494995117]
        for (found, value) in zip(variance, expected) { #expect(abs(found - value) <= 2 * value.ulp) }
    }

    @Test func batchNormWantsTwoValues() throws {
        let layer = ActivationBatchNorm(channels: 3)
        let z = try Maps([1, 2, 3], MapShape(channels: 3), images: 1)
        try withExtendedLifetime(z) {
            let error = try #require(throws: DimError.self) {
                _ = try layer.statistics(z.activation, weight: [1, 1, 1], bias: [0, 0, 0])
            }
            #expect(error.code == .invalidArgument && error.message.contains("more than one value"))
        }
    }

    /// A mean far from 0 does not spoil the variance.
    @Test func batchNormFarFromZero() throws {
        let n = 400
        let noise = randomValues(n, seed: 1)
        let z = try Maps(noise.map { 1000 + $0 }, MapShape(channels: 1), images: n)
        let statistics = try withExtendedLifetime(z) {
            try ActivationBatchNorm(channels: 1).statistics(z.activation, weight: [1], bias: [0])
        }
        let values = noise.map { Double(1000 + $0) }
        let mean = values.reduce(0, +) / Double(n)
        let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(n)
        #expect(abs(statistics.exactMean[0] - mean) <= 1e-6)
        #expect(abs(statistics.exactVariance[0] - variance) <= 1e-5 * variance)
    }

    @Test func foldedNormIsTheNorm() throws {
        let channels = 19
        let bias = randomValues(channels, seed: 1), weight = randomValues(channels, seed: 2)
        let normBias = randomValues(channels, seed: 3), mean = randomValues(channels, seed: 4)
        let variance = randomValues(channels, seed: 5).map { $0 + 1.5 }
        let (scale, shift) = (try Scratch(32), try Scratch(32))
        let shape = MapShape(channels: channels, height: 2, width: 3)
        let x = randomValues(2 * shape.size, seed: 6)
        for (bias, relu) in [([Float]?.none, false), (bias, true)] {
            defer { withExtendedLifetime((scale, shift)) {} }
            ActivationBatchNorm.fold(
                channels: channels, bias: bias, weight: weight, normBias: normBias, runningMean: mean,
                runningVariance: variance, scale: scale.pointer, shift: shift.pointer)
            try scale.check()
            for kernels in KernelTable.supported {
                let z = try Maps(x, shape, images: 2)
                ActivationBatchNorm(channels: channels, kernels: kernels).affine(
                    z.activation, scale: scale.pointer, shift: shift.pointer, relu: relu, into: z.activation)
                for (i, found) in try z.planar().enumerated() {
                    let c = i / 6 % channels
                    let centered = Double(x[i]) + Double(bias?[c] ?? 0) - Double(mean[c])
                    let root = (Double(variance[c]) + 1e-5).squareRoot()
                    let y = centered / root * Double(weight[c]) + Double(normBias[c])
                    let expected = relu ? max(y, 0) : y
                    #expect(abs(Double(found) - expected) <= 16 * DetailTests.epsilon, "\(kernels.name) \(i)")
                }
            }
        }
    }

    // MARK: Pools

    /// The first of equal values, and the last NaN, as F.max_pool2d(return_indices=True) has it.
    @Test(arguments: KernelTable.supported.map(\.name))
    func tiesAndNaN(table: String) throws {
        let kernels = try #require(KernelTable.named(table))
        let low = -Float.infinity
        let x: [Float] = [1, 1, 0, .nan, 0, 1, .nan, 2, low, low, low, low, low, low, low, low]
        let input = MapShape(channels: 1, height: 4, width: 4)
        for (kernel, padding, values, places) in [
            (2, 0, [1, Float.nan, low, low], [0, 6, 8, 10] as [Int32]),
            (3, 1, [1, Float.nan, 1, Float.nan], [0, 6, 5, 6]),
        ] {
            let pool = Pooling(
                .max, input: input, kernel: (kernel, kernel), stride: (2, 2), padding: (padding, padding),
                kernels: kernels)
            let (maps, y) = (try Maps(x, input, images: 1), try Maps(pool.output, images: 1))
            var indices = [Int32](repeating: -1, count: pool.indexCount(images: 1))
            withExtendedLifetime(maps) { pool.forward(maps.activation, into: y.activation, indices: &indices) }
            for (i, found) in try y.planar().enumerated() {
                #expect(found == values[i] || (found.isNaN && values[i].isNaN), "\(table) \(kernel) value \(i)")
                #expect(indices[i * 16] == places[i], "\(table) \(kernel) index \(i)")
            }
        }
    }

    // MARK: Values

    @Test func planesThereAndBack() throws {
        for channels in [1, 3, 17, 32, 40] {
            let shape = MapShape(channels: channels, height: 5, width: 7)
            let planes = randomValues(2 * shape.size, seed: UInt64(channels))
            let x = try Maps(shape, images: 2)
            PlanarLayout.load(planes, mean: [], std: [], into: x.activation)
            #expect(try x.planar() == planes)
            var back = [Float](repeating: 0, count: planes.count)
            PlanarLayout.store(x.activation, into: &back)
            #expect(back == planes)
            let (mean, std) = (randomValues(channels, seed: 1), randomValues(channels, seed: 2).map { $0 + 1.5 })
            PlanarLayout.load(planes, mean: mean, std: std, into: x.activation)
            let expected = planes.enumerated().map { i, v in
                (v - mean[i / 35 % channels]) / std[i / 35 % channels]
            }
            #expect(try x.planar() == expected)
        }
    }

    /// A block of images without channels may hold anything, NaN here, where the first layer does not read it.
    @Test func emptyBlocksOfImages() throws {
        let shape = MapShape(channels: 3, height: 9, width: 10)
        let convolution = PatchConvolution(
            input: shape, outputs: 40, kernel: (4, 4), stride: (2, 2), padding: (1, 1))
        #expect(!convolution.readsEmptyBlocks)
        #expect(PatchConvolution(input: shape, outputs: 40).readsEmptyBlocks)
        let planes = randomValues(3 * shape.size, seed: 1)
        let weights = try Buffer(randomValues(40 * 3 * 16, seed: 2))
        let packed = try Buffer(uninitialized: convolution.packedCount(.forward))
        convolution.pack(weights.pointer, .forward, into: packed.pointer)
        let scratch = try Scratch(convolution.scratch(images: 3))
        let dy = try Maps(randomValues(3 * convolution.output.size, seed: 3), convolution.output, images: 3)
        let results = try [true, false].map { cleared in
            let (x, y) = (try Maps(shape, images: 3), try Maps(convolution.output, images: 3))
            let dw = try Buffer(zeros: weights.count)
            PlanarLayout.load(planes, mean: [], std: [], into: x.activation, emptyBlocks: cleared)
            #expect(x.activation.block(1)[0].isNaN == !cleared)
            convolution.forward(x.activation, packed: packed.pointer, into: y.activation, scratch: scratch.shared)
            convolution.weightGradient(
                x.activation, dy.activation, into: dw.pointer, bias: nil, scratch: scratch.shared)
            return try y.planar() + dw.array
        }
        #expect(results[0] == results[1])
    }

    @Test(arguments: KernelTable.supported.map(\.name))
    func sigmoidAtTheEnds(table: String) throws {
        let kernels = try #require(KernelTable.named(table))
        let values: [Float] = [
            0, -0.0, 1, -1, 20, -20, 86, -86, 88, -88, 1000, -1000, .infinity, -.infinity, .nan, 1e-30, -1e-30,
        ]
        let x = try Maps(values, MapShape(channels: values.count), images: 1)
        Elementwise.sigmoid(x.activation, kernels: kernels)
        for (found, value) in zip(try x.planar(), values) {
            if value.isNaN {
                #expect(found.isNaN)
                continue
            }
            let expected = ReferenceOperators.sigmoid(Double(value))
            #expect(abs(Double(found) - expected) <= 8 * DetailTests.epsilon * expected + 1e-37, "\(table) \(value)")
        }
        let nan = try Maps([.nan, -1], MapShape(channels: 2), images: 1)
        Elementwise.relu(nan.activation, kernels: kernels)
        let y = try nan.planar()
        #expect(y[0].isNaN && y[1] == 0)
    }

    /// F.dropout(torch.ones(2, 3, 2, 5), 0.3) after torch.manual_seed(5), then torch.rand(1).
    @Test func dropoutDrawsAsPyTorch() throws {
        let kept = "111110100111011111011111011110001101111111001111110111111011"
        let shape = MapShape(channels: 3, height: 2, width: 5)
        let mask = try Maps(shape, images: 2)
        var generator = MersenneTwister(seed: 5)
        Dropout(probability: 0.3).mask(into: mask.activation, &generator)
        #expect(try mask.planar() == kept.map { $0 == "1" ? 0x1.6db6dcp+0 : 0 })
        #expect(generator.uniform() == 0x1.4d688p-1)
    }

    /// Nothing is drawn where nothing is random.
    @Test(arguments: [0.0, 1.0]) func certainDropout(probability: Double) throws {
        let mask = try Maps(MapShape(channels: 17), images: 2)
        var generator = MersenneTwister(seed: 5)
        Dropout(probability: probability).mask(into: mask.activation, &generator)
        #expect(try mask.planar() == [Float](repeating: Float(1 - probability), count: 34))
        #expect(generator == MersenneTwister(seed: 5))
    }
}
