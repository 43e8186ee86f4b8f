import DimKernels
import DimRuntime

/// A convolution of stride 1 without padding, as all of the model's are.
///
/// Activations are blocked, (n, C/16, H, W, 16); an input whose channels are no multiple of 16 (the image) is planar,
/// (n, C, H, W). Output channels are a multiple of 32, and so are input channels unless planar.
package struct ConvolutionShape: Equatable {
    package let inputChannels: Int
    package let outputChannels: Int
    package let kernel: Int
    package let inputHeight: Int
    package let inputWidth: Int

    package init(inputChannels: Int, outputChannels: Int, kernel: Int, inputHeight: Int, inputWidth: Int) {
        precondition(outputChannels % 32 == 0 && (inputChannels % 32 == 0 || inputChannels < 16))
        precondition(kernel >= 1 && inputHeight >= kernel && inputWidth >= kernel)
        self.inputChannels = inputChannels
        self.outputChannels = outputChannels
        self.kernel = kernel
        self.inputHeight = inputHeight
        self.inputWidth = inputWidth
    }

    package var outputHeight: Int { inputHeight - kernel + 1 }
    package var outputWidth: Int { inputWidth - kernel + 1 }
    package var inputIsPlanar: Bool { inputChannels % 16 != 0 }
    /// Floats an image.
    package var inputSize: Int { inputChannels * inputHeight * inputWidth }
    package var outputSize: Int { outputChannels * outputHeight * outputWidth }
    package var weightCount: Int { outputChannels * inputChannels * kernel * kernel }
    /// Multiplications and additions that the definition asks for, for one image.
    package var operations: Int { 2 * outputHeight * outputWidth * weightCount }
}

/// How a convolution is computed.
package enum ConvolutionAlgorithm: Equatable, CustomStringConvertible {
    /// The sum as defined.
    case direct
    /// Winograd (Cook-Toom) F(m x m, kernel x kernel).
    case winograd(m: Int)

    package var description: String {
        switch self {
        case .direct: "direct"
        case .winograd(let m): "winograd F(\(m))"
        }
    }
}

/// What happens to an output element on its way to memory: y = max(sum * scale[c] + bias[c], 0), as far as given.
package struct Epilogue {
    package var scale: UnsafePointer<Float>?
    package var bias: UnsafePointer<Float>?
    package var relu: Bool

    package init(scale: UnsafePointer<Float>? = nil, bias: UnsafePointer<Float>? = nil, relu: Bool = false) {
        self.scale = scale
        self.bias = bias
        self.relu = relu
    }
}

/// What happens to an input element on its way from memory: x = max(x * scale[c] + shift[c], 0). In training the layer
/// before keeps its convolution's output; batch norm and ReLU are applied again wherever it is read.
package struct InputAffine {
    package var scale: UnsafePointer<Float>
    package var shift: UnsafePointer<Float>

    package init(scale: UnsafePointer<Float>, shift: UnsafePointer<Float>) {
        self.scale = scale
        self.shift = shift
    }
}

/// The one form that the forward pass and the data gradient share: a convolution with zero padding. The data gradient is the
/// convolution of the output's gradient, padded by kernel - 1, with the kernels turned by 180 degrees and their channels
/// swapped.
struct ConvolutionProblem: Equatable {
    let inputChannels: Int
    let outputChannels: Int
    let kernel: Int
    let padding: Int
    let inputHeight: Int
    let inputWidth: Int

    init(_ shape: ConvolutionShape, _ direction: ConvolutionDirection) {
        kernel = shape.kernel
        switch direction {
        case .forward:
            (inputChannels, outputChannels) = (shape.inputChannels, shape.outputChannels)
            (padding, inputHeight, inputWidth) = (0, shape.inputHeight, shape.inputWidth)
        case .dataGradient:
            precondition(!shape.inputIsPlanar, "the image has no gradient")
            (inputChannels, outputChannels) = (shape.outputChannels, shape.inputChannels)
            (padding, inputHeight, inputWidth) = (shape.kernel - 1, shape.outputHeight, shape.outputWidth)
        }
    }

    var outputHeight: Int { inputHeight + 2 * padding - kernel + 1 }
    var outputWidth: Int { inputWidth + 2 * padding - kernel + 1 }
    var inputIsPlanar: Bool { inputChannels % 16 != 0 }
    var inputSize: Int { inputChannels * inputHeight * inputWidth }
    var outputSize: Int { outputChannels * outputHeight * outputWidth }
    var depth: Int { inputChannels * kernel * kernel }
}

package enum ConvolutionDirection {
    case forward, dataGradient
}

/// Weights made ready for one algorithm and direction. Read by any number of threads at once; `prepare` needs them alone.
package final class ConvolutionWeights {
    package let shape: ConvolutionShape
    package let algorithm: ConvolutionAlgorithm
    package let direction: ConvolutionDirection
    let problem: ConvolutionProblem
    let buffer: Buffer
    let kernels: KernelTable

    /// In memory of its own. The contents come with `prepare`.
    package convenience init(
        _ shape: ConvolutionShape, _ algorithm: ConvolutionAlgorithm, _ direction: ConvolutionDirection = .forward,
        kernels: KernelTable = DimKernels.selected
    ) throws {
        let count = ConvolutionWeights.count(shape, algorithm, direction, kernels: kernels)
        self.init(shape, algorithm, direction, in: try Buffer(uninitialized: count), kernels: kernels)
    }

    /// In a buffer of at least `count` floats.
    package init(
        _ shape: ConvolutionShape, _ algorithm: ConvolutionAlgorithm, _ direction: ConvolutionDirection,
        in buffer: Buffer, kernels: KernelTable = DimKernels.selected
    ) {
        self.shape = shape
        self.algorithm = algorithm
        self.direction = direction
        self.buffer = buffer
        self.kernels = kernels
        problem = ConvolutionProblem(shape, direction)
    }

    /// Floats that the prepared weights take.
    package static func count(
        _ shape: ConvolutionShape, _ algorithm: ConvolutionAlgorithm, _ direction: ConvolutionDirection,
        kernels: KernelTable = DimKernels.selected
    ) -> Int {
        switch algorithm {
        case .direct: shape.weightCount
        case .winograd(let m): WinogradPlan(ConvolutionProblem(shape, direction), m: m, kernels).weightCount
        }
    }

    /// From PyTorch's layout, (out, in, kernel, kernel).
    package func prepare(from weights: UnsafePointer<Float>) {
        switch algorithm {
        case .direct: packDirect(weights)
        case .winograd(let m):
            WinogradPlan(problem, m: m, kernels).transformWeights(weights, direction, into: buffer.pointer)
        }
    }
}

package enum Convolution {
    /// The fastest algorithm as measured (`dim-kernel-bench`), or the direct one where `DIM_CONV` is "direct".
    ///
    /// The same at every batch size, so that an image's result is the same bytes in any batch. The image's three channels
    /// would leave Winograd's products too little to sum.
    package static func algorithm(_ shape: ConvolutionShape, _ direction: ConvolutionDirection) -> ConvolutionAlgorithm
    {
        if isForcedDirect || shape.inputIsPlanar { return .direct }
        switch shape.kernel {
        case 4: return .winograd(m: 5)
        case 3: return .winograd(m: 6)
        default: return .direct
        }
    }

    /// Read once.
    package static let isForcedDirect = setting.value == "direct"
    private static let setting = Setting("DIM_CONV")

    /// What is wrong with what `DIM_CONV` says.
    package static var fault: String? {
        guard let value = setting.value, value != "direct", value != "winograd" else { return nil }
        return setting.fault(expected: "direct or winograd")
    }

    /// Floats of scratch memory that `forward`, or `dataGradient` where the weights are for that, takes.
    package static func scratch(_ weights: ConvolutionWeights, n: Int) -> Int {
        switch weights.algorithm {
        case .direct: DirectConvolution(weights).scratchCount(n)
        case .winograd(let m): WinogradConvolution(weights, m: m).scratchCount(n)
        }
    }

    /// y = the convolution of `n` images, then the epilogue.
    package static func forward(
        _ input: UnsafePointer<Float>, n: Int, _ weights: ConvolutionWeights, inputAffine: InputAffine? = nil,
        _ epilogue: Epilogue = Epilogue(), into output: UnsafeMutablePointer<Float>, _ scratch: ScratchBuffer
    ) throws {
        precondition(weights.direction == .forward)
        try run(input, n, weights, inputAffine, epilogue, output, scratch)
    }

    static func run(
        _ input: UnsafePointer<Float>, _ n: Int, _ weights: ConvolutionWeights, _ inputAffine: InputAffine?,
        _ epilogue: Epilogue, _ output: UnsafeMutablePointer<Float>, _ scratch: ScratchBuffer
    ) throws {
        switch weights.algorithm {
        case .direct:
            try DirectConvolution(weights).run(input, n, inputAffine, epilogue, output, scratch)
        case .winograd(let m):
            try WinogradConvolution(weights, m: m).run(input, n, inputAffine, epilogue, output, scratch)
        }
    }
}
