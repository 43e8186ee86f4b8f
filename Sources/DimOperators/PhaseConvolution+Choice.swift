import DimKernels

// Which algorithm a convolution uses, forward and for each gradient: a model of the cost, in products of vectors of 16 an
// image, among the tiles that the budget of errors allows. It knows nothing of the batch, so that an image's bytes are the
// same in any; docs/kernels.md has the errors and what the model's terms are.

extension PatchConvolution {
    /// Tiles of F(m, r) that amplify rounding 7 times at most, in a training step twice
    /// (tools/build/winograd_transforms.py --errors).
    private static func sizes(_ r: Int, training: Bool) -> [Int] {
        switch r {
        case 2: training ? [2] : [2, 4]
        case _ where training: []
        case 3: [4]
        case 4: [3]
        default: []
        }
    }

    /// What Winograd's algorithm has to save to be worth the memory.
    private static let worthwhile = 0.85

    var fastest: Phases {
        guard !isCompact, places > 1 else { return Phases() }
        let r = (kernel.rows + stride.rows - 1) / stride.rows
        let blocks = (inputBlocks, (output.channels + 15) / 16)
        func choose(
            training: Bool, _ direct: PhaseConvolution.Work, _ weights: Double,
            _ work: (PhaseConvolution) -> [PhaseConvolution.Work]
        ) -> PhaseConvolution? {
            var best = (cost: PatchConvolution.worthwhile * direct.cost(weights), PhaseConvolution?.none)
            for m in PatchConvolution.sizes(r, training: training) {
                guard let candidate = PhaseConvolution(self, m: m) else { continue }
                let cost = work(candidate).reduce(0) { $0 + $1.cost(weights) }
                if cost < best.cost { best = (cost, candidate) }
            }
            return best.1
        }
        // Gathering a value costs as much as a transform's point.
        let direct = PhaseConvolution.Work(
            points: places, tiles: output.pixels, depth: blocks.0, columns: blocks.1, transformed: blocks.0)
        return Phases(
            forward: choose(training: false, direct, 2.5) { [$0.work($0.forwardPass)] },
            training: choose(training: true, direct, 1) { [$0.work($0.forwardPass)] },
            dataGradient: choose(training: true, direct, 1) { candidate in
                candidate.dataGradientPasses.map { candidate.work($0) }
            },
            weightGradient: choose(training: true, direct, 0.5) { [$0.work($0.forwardPass)] })
    }
}

extension PhaseConvolution {
    /// Products of `points` matrices, for one image: tiles x (16 depth) times (16 depth) x (16 columns).
    struct Work {
        let points: Int
        let tiles: Int
        let depth: Int
        let columns: Int
        /// Blocks of 16 channels of a tile that are transformed.
        let transformed: Int

        /// A transform takes about 8 operations a point. `weights` is what a vector of weights costs an image beside the
        /// products it is used in:
        ///
        ///     forward           2.5    reading it takes as long as 13 products; of batches of 1 to 64, as in one of 5
        ///     in training       1      it is made anew for a step, 24 products, and read: in a batch of 32
        ///     data gradient     1      likewise
        ///     weight gradient   1/2    it goes back to the weights: in a batch of 32
        func cost(_ weights: Double) -> Double {
            let products = Double(16 * depth * columns)
            return Double(points) * (Double(tiles) * (products + Double(8 * transformed)) + weights * products)
        }
    }

    func work(_ pass: Pass) -> Work {
        let columns = (pass.to.channels + 15) / 16
        return Work(
            points: points, tiles: pass.tiles, depth: pass.blocks, columns: columns,
            transformed: pass.blocks + columns)
    }
}
