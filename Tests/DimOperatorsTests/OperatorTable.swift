import DimArchitecture
import DimKernels
import DimOperators
import DimRuntime

// Every operator once: how it is run, what it should give, which sizes to try. From this table come the tests of the forward
// pass and of all gradients, on every instruction set, and the benchmark (Benchmarks/Kernels links this file).
//
// To add an operator: its formula in ReferenceOperators, a function here that makes an OperatorCase, cases in
// `OperatorTable.cases`.

/// One operator at one size.
struct OperatorCase: CustomStringConvertible {
    let description: String
    /// Sizes of the arguments: maps (n, c, h, w) first, then parameters.
    let arguments: [Int]
    /// The formula, in double.
    let reference: ([[Double]]) -> [Double]
    /// How many roundings an output and a gradient go through at most: the bound is that many epsilons of the largest term.
    let terms: Int
    /// Winograd's algorithm adds terms of other outputs, which cancel: the bound is an absolute one, and the error's root
    /// mean square is a small part of what is expected.
    var bound: Double?
    /// y and the gradients are sums of products of the arguments, so that the formula over absolute values bounds the terms.
    var isMultilinear = true
    /// Multiply-adds of the forward pass.
    var operations = 0
    /// The operator with its memory, on one instruction set, with these arguments.
    let make: (KernelTable, [[Float]]) throws -> Trial
}

/// An operator ready to run, as often as one likes.
struct Trial {
    /// What is done once for new weights; done already.
    var prepare: [(name: String, run: () -> Void)] = []
    let forward: () throws -> Void
    /// After `forward`, from `outputGradient`, which it may overwrite.
    let backward: [(name: String, run: () throws -> Void)]
    let output: Maps
    let outputGradient: Maps
    /// Of each argument, planar, after `backward`; parameters' gradients were 1 before, since operators add.
    let gradients: () throws -> [[Float]]
}

struct Fault: Error, CustomStringConvertible {
    let description: String
}

/// An activation with memory of its own. What an operator must not read is NaN, what it must not write is watched.
final class Maps {
    private static let watched = 64
    private static let mark: Float = -12345.5
    let buffer: Buffer
    let activation: Activation
    private var count: Int { buffer.count - Maps.watched }

    /// Undefined values.
    init(_ shape: MapShape, images: Int) throws {
        buffer = try Buffer(uninitialized: Activation.count(shape, images: images) + Maps.watched)
        activation = Activation(buffer.pointer, shape, images: images)
        buffer.pointer.update(repeating: .nan, count: count)
        (buffer.pointer + count).update(repeating: Maps.mark, count: Maps.watched)
    }

    convenience init(_ planar: [Float], _ shape: MapShape, images: Int) throws {
        try self.init(shape, images: images)
        set(planar)
    }

    /// (n, c, h, w); lanes past the last channel become 0.
    func set(_ planar: [Float]) {
        let shape = activation.shape
        for block in 0..<activation.blocks {
            activation.block(block).update(repeating: 0, count: activation.rows * 16)
        }
        for i in planar.indices {
            let (image, c, p) = (i / shape.size, i / shape.pixels % shape.channels, i % shape.pixels)
            activation.block(c / 16)[(image * shape.pixels + p) * 16 + c % 16] = planar[i]
        }
    }

    func planar() throws -> [Float] {
        let shape = activation.shape
        for i in count..<buffer.count where buffer.pointer[i] != Maps.mark {
            throw Fault(description: "written past the end of \(shape)")
        }
        for c in shape.channels..<activation.blocks * 16 {
            for row in 0..<activation.rows where activation.block(c / 16)[row * 16 + c % 16] != 0 {
                throw Fault(description: "lane \(c) of \(shape) is not 0 at row \(row)")
            }
        }
        return (0..<activation.images * shape.size).map { i in
            let (image, c, p) = (i / shape.size, i / shape.pixels % shape.channels, i % shape.pixels)
            return activation.block(c / 16)[(image * shape.pixels + p) * 16 + c % 16]
        }
    }
}

/// Memory that no operator may read before it writes there, nor write past its end.
final class Scratch {
    let buffer: Buffer
    private let count: Int
    var pointer: UnsafeMutablePointer<Float> { buffer.pointer }
    var shared: WorkerScratch { WorkerScratch(pointer, count: count) }

    init(_ count: Int) throws {
        self.count = count
        buffer = try Buffer(uninitialized: count + 64)
        buffer.pointer.update(repeating: .nan, count: count)
        (buffer.pointer + count).update(repeating: -1, count: 64)
    }

    func check() throws {
        for i in count..<count + 64 where buffer.pointer[i] != -1 {
            throw Fault(description: "written past the end of the scratch memory")
        }
    }
}

/// A parameter's values with zeros up to a multiple of 32.
func padded(_ values: [Float]) throws -> Buffer {
    try Buffer(values + [Float](repeating: 0, count: (32 - values.count % 32) % 32))
}

/// A gradient that starts from 1.
func ones(_ count: Int) throws -> Buffer {
    let buffer = try Buffer(uninitialized: count)
    buffer.pointer.update(repeating: 1, count: count)
    return buffer
}

func less1(_ buffer: Buffer) -> [Float] { buffer.array.map { $0 - 1 } }

struct ConvolutionSize {
    let n: Int
    let input: MapShape
    let outputs: Int
    let window: ReferenceOperators.Window
    /// Where the layer is a part of a wider one.
    let weightInputs: Int
    let first: Int
    let algorithm: PatchConvolution.Algorithm

    init(
        _ n: Int, _ input: MapShape, _ outputs: Int, _ window: ReferenceOperators.Window = .init(),
        weightInputs: Int? = nil, first: Int = 0, _ algorithm: PatchConvolution.Algorithm = .patches
    ) {
        self.algorithm = algorithm
        self.n = n
        self.input = input
        self.outputs = outputs
        self.window = window
        self.weightInputs = weightInputs ?? input.channels
        self.first = first
    }

    var output: MapShape { window.output(input, channels: outputs) }

    /// The worst case that F(m, r)'s magnitudes allow, for operands in [-1, 1), of any output and gradient.
    var bound: Double? {
        guard case .winograd(let m) = algorithm else { return nil }
        let s = window.stride.0
        let (r, tiles) = ((window.kernel.0 + s - 1) / s, (output.height + m) * (output.width + m) / (m * m))
        let depth = Double(max(s * s * (input.channels + 15), outputs + 15, n * tiles))
        let growth = Reference.winogradGrowth(m: m, r: r)!
        return (depth + Double(6 * (m + r))) * Double(Float.ulpOfOne) * depth * growth * growth * 2
    }
}

enum OperatorTable {
    typealias Window = ReferenceOperators.Window

    // MARK: The operators

    static func convolution(_ size: ConvolutionSize) -> OperatorCase {
        let (n, input, outputs, window) = (size.n, size.input, size.outputs, size.window)
        let (all, first, output) = (size.weightInputs, size.first, size.output)
        let places = window.kernel.0 * window.kernel.1
        let part =
            (all == input.channels ? "" : " of \(all) from \(first)")
            + (size.algorithm == .patches ? "" : ", \(size.algorithm)")
        return OperatorCase(
            description: "convolution \(n)x\(text(input))\(part) to \(text(output)), kernel \(window.kernel), "
                + "stride \(window.stride), padding \(window.padding)",
            arguments: [n * input.size, outputs * all * places, outputs],
            reference: {
                ReferenceOperators.convolution(
                    $0[0], $0[1], $0[2], n: n, input, outputs: outputs, weightInputs: all, first: first, window)
            },
            terms: 8 + max(input.channels * places, outputs * places, n * output.pixels), bound: size.bound,
            operations: n * output.size * input.channels * places
        ) { kernels, values in
            let layer = PatchConvolution(
                input: input, outputs: outputs, kernel: window.kernel, stride: window.stride, padding: window.padding,
                weightInputs: all, firstInput: first, algorithm: size.algorithm, kernels: kernels)
            guard layer.output == output else { throw Fault(description: "wrong shape \(layer.output)") }
            if case .winograd(let m) = size.algorithm, layer.tiles != [m, m, m, m] {
                throw Fault(description: "not \(size.algorithm)")
            }
            let (x, w, b) = (try Maps(values[0], input, images: n), try Buffer(values[1]), try padded(values[2]))
            let (y, dy, dx) = (try Maps(output, images: n), try Maps(output, images: n), try Maps(input, images: n))
            let (dw, db) = (try ones(w.count), try ones(outputs))
            let scratch = try Scratch(layer.scratch(images: n))
            let forward = try Scratch(layer.packedCount(.forward))
            layer.pack(w.pointer, .forward, into: forward.pointer)
            let turned = try Scratch(layer.packedCount(.dataGradient))
            layer.pack(w.pointer, .dataGradient, into: turned.pointer)
            return Trial(
                prepare: [
                    ("pack", { layer.pack(w.pointer, .forward, into: forward.pointer) }),
                    ("pack for the data gradient", { layer.pack(w.pointer, .dataGradient, into: turned.pointer) }),
                ],
                forward: {
                    layer.forward(
                        x.activation, packed: forward.pointer, bias: b.pointer, into: y.activation,
                        scratch: scratch.shared)
                },
                backward: [
                    (
                        "data gradient",
                        {
                            layer.dataGradient(
                                dy.activation, packed: turned.pointer, into: dx.activation, accumulate: false,
                                scratch: scratch.shared)
                        }
                    ),
                    (
                        "weight gradient",
                        {
                            layer.weightGradient(
                                x.activation, dy.activation, into: dw.pointer, bias: db.pointer,
                                scratch: scratch.shared)
                        }
                    ),
                ],
                output: y, outputGradient: dy,
                gradients: {
                    for memory in [scratch, forward, turned] { try memory.check() }
                    return [try dx.planar(), less1(dw), less1(db)]
                })
        }
    }

    static func pool(_ kind: Pooling.Kind, _ n: Int, _ input: MapShape, _ window: Window) -> OperatorCase {
        let output = window.output(input, channels: input.channels)
        return OperatorCase(
            description: "\(kind) pool \(n)x\(text(input)), kernel \(window.kernel), stride \(window.stride), "
                + "padding \(window.padding)",
            arguments: [n * input.size],
            reference: {
                ReferenceOperators.pool($0[0], maps: n * input.channels, input, window, isMax: kind == .max)
            },
            terms: 2 + window.kernel.0 * window.kernel.1, isMultilinear: kind == .average
        ) { kernels, values in
            let layer = Pooling(
                kind, input: input, kernel: window.kernel, stride: window.stride, padding: window.padding,
                kernels: kernels)
            guard layer.output == output else { throw Fault(description: "wrong shape \(layer.output)") }
            let (x, dx) = (try Maps(values[0], input, images: n), try Maps(input, images: n))
            let (y, dy) = (try Maps(output, images: n), try Maps(output, images: n))
            let scratch = try Scratch(layer.indexCount(images: n))
            let indices =
                kind == .max ? UnsafeMutableRawPointer(scratch.pointer).assumingMemoryBound(to: Int32.self) : nil
            return Trial(
                forward: { layer.forward(x.activation, into: y.activation, indices: indices) },
                backward: [
                    ("gradient", { layer.backward(dy.activation, indices: indices, into: dx.activation) })
                ],
                output: y, outputGradient: dy,
                gradients: {
                    try scratch.check()
                    return [try dx.planar()]
                })
        }
    }

    static func batchNorm(_ n: Int, _ shape: MapShape, relu: Bool) -> OperatorCase {
        OperatorCase(
            description: "batch norm \(n)x\(text(shape))\(relu ? ", ReLU" : "")",
            arguments: [n * shape.size, shape.channels, shape.channels],
            reference: {
                let y = ReferenceOperators.batchNorm($0[0], $0[1], $0[2], n: n, shape)
                return relu ? y.map { max($0, 0) } : y
            },
            terms: 64, isMultilinear: false
        ) { kernels, values in
            let layer = ActivationBatchNorm(channels: shape.channels, kernels: kernels)
            let (z, w, b) = (try Maps(values[0], shape, images: n), try Buffer(values[1]), try Buffer(values[2]))
            let (y, dy) = (try Maps(shape, images: n), try Maps(shape, images: n))
            let (dw, db) = (try ones(shape.channels), try ones(shape.channels))
            return Trial(
                forward: {
                    let statistics = try layer.statistics(z.activation, weight: w.pointer, bias: b.pointer)
                    layer.apply(statistics, z.activation, relu: relu, into: y.activation)
                },
                backward: [
                    (
                        "gradient",
                        {
                            let statistics = try layer.statistics(z.activation, weight: w.pointer, bias: b.pointer)
                            try layer.backward(
                                statistics, z.activation, relu: relu, weight: w.pointer, gradient: dy.activation,
                                weightGradient: dw.pointer, biasGradient: db.pointer)
                        }
                    )
                ],
                output: y, outputGradient: dy, gradients: { [try dy.planar(), less1(dw), less1(db)] })
        }
    }

    static func layerNorm(_ n: Int, _ shape: MapShape) -> OperatorCase {
        OperatorCase(
            description: "layer norm \(n)x\(text(shape))",
            arguments: [n * shape.size, shape.channels, shape.channels],
            reference: { ReferenceOperators.layerNorm($0[0], $0[1], $0[2], n: n, shape) },
            terms: 64, isMultilinear: false
        ) { kernels, values in
            let layer = ActivationLayerNorm(channels: shape.channels, kernels: kernels)
            let (x, w, b) = (try Maps(values[0], shape, images: n), try Buffer(values[1]), try Buffer(values[2]))
            let (y, dy) = (try Maps(shape, images: n), try Maps(shape, images: n))
            let (dw, db) = (try ones(shape.channels), try ones(shape.channels))
            let statistics = try Scratch(2 * n * shape.pixels)
            return Trial(
                forward: {
                    layer.forward(
                        x.activation, weight: w.pointer, bias: b.pointer, into: y.activation,
                        statistics: statistics.pointer)
                },
                backward: [
                    (
                        "gradient",
                        {
                            try layer.backward(
                                x.activation, statistics: statistics.pointer, weight: w.pointer,
                                gradient: dy.activation, weightGradient: dw.pointer, biasGradient: db.pointer)
                        }
                    )
                ],
                output: y, outputGradient: dy,
                gradients: {
                    try statistics.check()
                    return [try dy.planar(), less1(dw), less1(db)]
                })
        }
    }

    static func flatten(_ n: Int, _ shape: MapShape) -> OperatorCase {
        OperatorCase(
            description: "flatten \(n)x\(text(shape))", arguments: [n * shape.size], reference: { $0[0] }, terms: 0
        ) { _, values in
            let vector = MapShape(channels: shape.size)
            let (x, dx) = (try Maps(values[0], shape, images: n), try Maps(shape, images: n))
            let (y, dy) = (try Maps(vector, images: n), try Maps(vector, images: n))
            return Trial(
                forward: { Flatten.forward(x.activation, into: y.activation) },
                backward: [("gradient", { Flatten.backward(dy.activation, into: dx.activation) })],
                output: y, outputGradient: dy, gradients: { [try dx.planar()] })
        }
    }

    /// ReLU and sigmoid, in place.
    static func activation(_ isRelu: Bool, _ n: Int, _ shape: MapShape) -> OperatorCase {
        OperatorCase(
            description: "\(isRelu ? "ReLU" : "sigmoid") \(n)x\(text(shape))", arguments: [n * shape.size],
            reference: { $0[0].map { isRelu ? max($0, 0) : ReferenceOperators.sigmoid($0) } }, terms: 8,
            isMultilinear: false
        ) { kernels, values in
            let (y, dy) = (try Maps(values[0], shape, images: n), try Maps(shape, images: n))
            return Trial(
                forward: {
                    if isRelu {
                        Elementwise.relu(y.activation, kernels: kernels)
                    } else {
                        Elementwise.sigmoid(y.activation, kernels: kernels)
                    }
                },
                backward: [
                    (
                        "gradient",
                        {
                            if isRelu {
                                Elementwise.reluGradient(y.activation, dy.activation, kernels: kernels)
                            } else {
                                Elementwise.sigmoidGradient(y.activation, dy.activation, kernels: kernels)
                            }
                        }
                    )
                ],
                output: y, outputGradient: dy, gradients: { [try dy.planar()] })
        }
    }

    /// y = a + b, as a residual block has it, and y = a * mask, as dropout.
    static func combine(_ isSum: Bool, _ n: Int, _ shape: MapShape) -> OperatorCase {
        OperatorCase(
            description: "\(isSum ? "add" : "multiply") \(n)x\(text(shape))",
            arguments: [n * shape.size, n * shape.size],
            reference: { a in a[0].indices.map { isSum ? a[0][$0] + a[1][$0] : a[0][$0] * a[1][$0] } }, terms: 2
        ) { kernels, values in
            let (a, y) = (try Maps(values[0], shape, images: n), try Maps(values[1], shape, images: n))
            let (other, dy) = (try Maps(values[1], shape, images: n), try Maps(shape, images: n))
            let (da, db) = (try Maps(shape, images: n), try Maps(shape, images: n))
            return Trial(
                forward: {
                    if isSum {
                        Elementwise.add(a.activation, into: y.activation, kernels: kernels)
                    } else {
                        Elementwise.multiply(a.activation, into: y.activation, kernels: kernels)
                    }
                },
                backward: [
                    (
                        "gradient",
                        {
                            for (target, factor) in [(da, other), (db, a)] {
                                Elementwise.clear(target.activation)
                                Elementwise.add(dy.activation, into: target.activation, kernels: kernels)
                                guard !isSum else { continue }
                                Elementwise.multiply(factor.activation, into: target.activation, kernels: kernels)
                            }
                        }
                    )
                ],
                output: y, outputGradient: dy, gradients: { [try da.planar(), try db.planar()] })
        }
    }

    static func text(_ shape: MapShape) -> String { "\(shape.channels)x\(shape.height)x\(shape.width)" }
}
