import DimArchitecture
import DimKernels
import DimRuntime

/// torch.nn.Conv2d of any kernel, stride, zero padding and channel counts over blocked activations; a linear layer is the
/// same on maps of one pixel. The operator may be a part of a wider layer: of the input channels firstInput ..< firstInput
/// + input.channels of `weightInputs`, as the heads that read cat(map, vector) are factored.
///
/// A convolution is a matrix product over its windows: rows are windows (images x output pixels), k runs over the kernel's
/// places and the channels. Windows are gathered 256 values of k and some rows at a time, which stay in the second-level
/// cache; the product of each such slab is added to the output. A sum is thus a chain of 256 terms and a sum of chains,
/// whatever the number of images, rows of a slab or threads. See docs/operators.md.
package struct PatchConvolution {
    /// `training`: forward in training mode, whose errors reach the gradients.
    package enum Direction { case forward, training, dataGradient }

    /// How it is computed: `fastest` by the cost model of PhaseConvolution+Choice.swift.
    package enum Algorithm: Equatable { case fastest, patches, winograd(m: Int) }

    package let input: MapShape
    package let output: MapShape
    package let kernel: (rows: Int, columns: Int)
    package let stride: (rows: Int, columns: Int)
    package let padding: (rows: Int, columns: Int)
    package let weightInputs: Int
    package let firstInput: Int
    let kernels: KernelTable
    /// Tasks that run at once have scratch memory each: so many.
    let workers: Int
    /// By Winograd's algorithm, where that is chosen.
    private(set) var phases = Phases()

    struct Phases {
        var forward: PhaseConvolution?
        var training: PhaseConvolution?
        var dataGradient: PhaseConvolution?
        var weightGradient: PhaseConvolution?
    }

    /// Terms of a chain of multiply-adds.
    static let chain = 256
    /// Rows of a slab: with 256 values of k, 128 KB.
    static let slabRows = 128
    /// Outputs that a task of the weight gradient covers.
    static let gradientOutputs = 128

    package init(
        input: MapShape, outputs: Int, kernel: (rows: Int, columns: Int) = (1, 1),
        stride: (rows: Int, columns: Int) = (1, 1), padding: (rows: Int, columns: Int) = (0, 0),
        weightInputs: Int? = nil, firstInput: Int = 0, algorithm: Algorithm = .fastest,
        kernels: KernelTable = DimKernels.selected
    ) {
        self.input = input
        self.kernel = kernel
        self.stride = stride
        self.padding = padding
        self.weightInputs = weightInputs ?? input.channels
        self.firstInput = firstInput
        self.kernels = kernels
        output = MapShape(
            channels: outputs, height: (input.height + 2 * padding.rows - kernel.rows) / stride.rows + 1,
            width: (input.width + 2 * padding.columns - kernel.columns) / stride.columns + 1)
        workers = max(ThreadPool.cores(), ThreadPool.shared.threads)
        precondition(firstInput >= 0 && firstInput + input.channels <= self.weightInputs)
        precondition(input.height + 2 * padding.rows >= kernel.rows)
        precondition(input.width + 2 * padding.columns >= kernel.columns)
        switch algorithm {
        case .patches: break
        case .fastest: phases = Convolution.isForcedDirect ? Phases() : fastest
        case .winograd(let m):
            let same = PhaseConvolution(self, m: m)
            phases = Phases(forward: same, training: same, dataGradient: same, weightGradient: same)
        }
    }

    // MARK: Sizes

    /// Places of the kernel.
    var places: Int { kernel.rows * kernel.columns }
    /// Blocks of 16 input channels that hold any.
    var inputBlocks: Int { (input.channels + 15) / 16 }
    /// The layer's padded outputs, a multiple of 32.
    var paddedOutputs: Int { Activation.blocks(output.channels) * 16 }
    /// A window is its pixel: nothing needs to be gathered.
    var isPointwise: Bool { places == 1 && stride == (1, 1) && padding == (0, 0) }
    /// Windows of few channels are packed without the padding lanes.
    var isCompact: Bool { places > 1 && input.channels < 16 }
    /// Whether the input's last block must be there, all zeros, where no channel is in it.
    package var readsEmptyBlocks: Bool { !isCompact }
    /// The length of k: (place, channel), each place padded to whole blocks but where windows are compact or of one pixel.
    var depth: Int {
        places == 1 ? input.channels : isCompact ? places * input.channels : places * inputBlocks * 16
    }
    /// Floats of a compact window: the last vector of 16 ends in it.
    var compactStep: Int { (depth + 30) / 16 * 16 }
    /// Rows of the forward pass's slab.
    var forwardRows: Int {
        isCompact ? max(64, min(512, (1 << 15) / compactStep)) : PatchConvolution.slabRows
    }

    /// The weights of the layer's one output.
    var weightStride: Int { weightInputs * places }

    package func packedCount(_ direction: Direction) -> Int {
        if let phases = phases(direction) { return phases.packedCount(direction) }
        switch direction {
        case .forward, .training: return depth * paddedOutputs
        case .dataGradient: return Activation.blocks(input.channels) * 16 * places * output.channels
        }
    }

    /// Floats of scratch memory that any call takes, for so many images or fewer.
    package func scratch(images: Int) -> Int {
        max(
            mixedScratch(), phases.forward?.forwardScratch(images: images) ?? forwardScratch(images: images),
            phases.training?.forwardScratch(images: images) ?? forwardScratch(images: images),
            phases.dataGradient?.dataGradientScratch(images: images) ?? dataGradientScratch(images: images),
            phases.weightGradient?.weightGradientScratch(images: images) ?? weightGradientScratch(images: images))
    }

    /// The m of Winograd's algorithm, nil where it is by patches: forward in both modes, for the data gradient and the weight gradient.
    package var tiles: [Int?] {
        [phases.forward, phases.training, phases.dataGradient, phases.weightGradient].map { $0?.m }
    }

    /// Whether weights packed for either of the directions forward serve both.
    package var trainsAlike: Bool { phases.forward?.m == phases.training?.m }

    func phases(_ direction: Direction) -> PhaseConvolution? {
        switch direction {
        case .forward: phases.forward
        case .training: phases.training
        case .dataGradient: phases.dataGradient
        }
    }

    /// The windows at one place of the kernel, of one block of channels.
    func patches(
        _ x: UnsafeMutablePointer<Float>, place: Int, first: Int, count: Int, target: UnsafeMutablePointer<Float>,
        step: Int
    ) -> PatchRows {
        PatchRows(
            source: x, height: input.height, width: input.width, outputHeight: output.height,
            outputWidth: output.width, rowStride: stride.rows, columnStride: stride.columns,
            rowShift: place / kernel.columns - padding.rows, columnShift: place % kernel.columns - padding.columns,
            first: first, count: count, target: target, targetStep: step)
    }
}

/// The parts of `count` things, each of `size` or, in the end, fewer.
struct Parts {
    let count: Int
    let size: Int
    var parts: Int { (count + size - 1) / size }
    func part(_ index: Int) -> Range<Int> { index * size..<min((index + 1) * size, count) }
}
