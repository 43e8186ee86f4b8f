import DimArchitecture
import Testing

/// Repeats itself from a seed: SplitMix64.
struct Random: RandomNumberGenerator {
    var state: UInt64

    init(seed: Int) { state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func below(_ n: Int) -> Int { Int.random(in: 0..<n, using: &self) }
    mutating func within(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }
    mutating func once(in n: Int) -> Bool { below(n) == 0 }
    mutating func one<T>(of list: [T]) -> T { list[below(list.count)] }
}

/// A valid architecture of small sizes, with every operator, norm and head sooner or later.
func randomArchitecture(seed: Int) -> Architecture {
    var random = Random(seed: seed)
    var builder = RandomLayers(random: random)
    random.state ^= 0x5555
    func distinct(_ count: Int) -> [Double] { (0..<count).map { _ in Double(random.within(1...1_000_000)) / 1e6 } }
    let channels = random.within(1...5)
    let image = ImageDescription(
        channels: channels, height: random.within(8...20), width: random.within(8...20),
        mean: random.once(in: 2) ? [0] : distinct(channels), std: random.once(in: 2) ? [0.5] : distinct(channels),
        resize: random.one(of: ImageDescription.Resize.allCases))
    builder.shape = image.shape
    var encoder = builder.encoder()
    encoder.normsLast = random.once(in: 4)
    let named = encoder.layers.dropLast().filter { $0.isProduct }
    encoder.features = random.one(of: named).name!
    let hidden = { (random: inout Random) in (0..<random.below(3)).map { _ in random.within(1...9) } }
    var local: HeadDescription?
    var global: HeadDescription?
    if !random.once(in: 4) {
        local =
            random.once(in: 2)
            ? .concat(hidden: hidden(&random))
            : .dot(net: random.one(of: [.light, .authors]), units: random.within(1...12))
    }
    if !random.once(in: 4) {
        let input: HeadDescription.Input = encoder.conv == nil || random.once(in: 2) ? .features : .conv
        global =
            random.once(in: 2)
            ? .concat(
                hidden: hidden(&random),
                layers: random.once(in: 2) ? [] : [.conv("c0", 3, kernel: 1, norm: .layer, activation: .sigmoid)],
                input: input)
            : .dot(net: random.one(of: HeadDescription.Net.allCases), units: random.within(1...12), input: input)
    }
    var classifier = ClassifierDescription(
        hidden: hidden(&random), dropout: random.one(of: [0, 0.1, 0.75]), classes: random.within(2...200),
        outputNorm: random.once(in: 3))
    if random.once(in: 3) {
        classifier.names = (0...classifier.hidden.count).map {
            $0 < classifier.hidden.count || classifier.outputNorm ? ["a\($0)", "b\($0)_x"] : ["a\($0)"]
        }
    }
    return Architecture(
        preset: random.once(in: 2) ? nil : random.one(of: Architecture.presetNames), image: image, encoder: encoder,
        local: local, global: global,
        prior: random.once(in: 3)
            ? nil : PriorDescription(hidden: hidden(&random), squash: random.one(of: PriorDescription.Squash.allCases)),
        classifier: random.once(in: 3) ? nil : classifier,
        coordinates: random.once(in: 2) ? nil : CoordinatesDescription(hidden: hidden(&random)))
}

private struct RandomLayers {
    var random: Random
    var shape = MapShape(channels: 1)
    private var counter = 0

    init(random: Random) { self.random = random }

    private mutating func name(_ letter: String) -> String {
        counter += 1
        return "\(letter)\(counter)"
    }

    private mutating func finish(_ layer: inout Layer) {
        if layer.name != nil && random.once(in: 2) {
            layer.setNorm(random.one(of: [.batch, .layer]), random.once(in: 4) ? name("n") : nil)
        }
        layer.activation = random.one(of: [nil, .relu, .sigmoid])
    }

    private mutating func window(_ layer: inout Layer) {
        let rows = random.within(1...min(4, shape.height)), columns = random.within(1...min(4, shape.width))
        layer.kernel = Layer.Pair(rows, columns)
        layer.stride = Layer.Pair(random.within(1...2), random.within(1...2))
        let limits = layer.isPool ? (rows / 2, columns / 2) : (rows - 1, columns - 1)
        layer.padding = Layer.Pair(random.within(0...limits.0), random.within(0...limits.1))
        shape = MapShape(
            channels: shape.channels, height: (shape.height + 2 * layer.padding.rows - rows) / layer.stride.rows + 1,
            width: (shape.width + 2 * layer.padding.columns - columns) / layer.stride.columns + 1)
    }

    private mutating func conv(_ name: String, _ out: Int) -> Layer {
        var layer = Layer(.conv, name)
        layer.out = out
        layer.bias = random.once(in: 2)
        window(&layer)
        shape = MapShape(channels: out, height: shape.height, width: shape.width)
        finish(&layer)
        return layer
    }

    private mutating func residual() -> Layer {
        let before = shape
        var layer = Layer(.residual, random.once(in: 4) ? nil : name("r"))
        layer.layers = [conv(layer.name == nil ? name("q") : "c0", random.within(1...6)), .dropout(0.25)]
        let shortcutName = layer.name == nil ? name("s") : "s0"
        if shape == before {
            layer.shortcut = random.once(in: 2) ? nil : .conv(shortcutName, shape.channels, kernel: 1)
        } else {
            // The same window gives the same shape.
            var shortcut = Layer(.conv, shortcutName)
            shortcut.out = shape.channels
            (shortcut.kernel, shortcut.stride) = (layer.layers[0].kernel, layer.layers[0].stride)
            shortcut.padding = layer.layers[0].padding
            shortcut.setNorm(.batch)
            layer.shortcut = shortcut
        }
        finish(&layer)
        return layer
    }

    mutating func encoder() -> EncoderDescription {
        var layers = [conv(name("c"), random.within(1...8))]
        for _ in 0..<random.below(4) {
            switch random.below(6) {
            case 0, 1: layers.append(conv(name("c"), random.within(1...8)))
            case 2: layers.append(residual())
            case 3, 4:
                var pool = Layer(random.one(of: [.maxpool, .avgpool]), random.once(in: 2) ? name("p") : nil)
                window(&pool)
                finish(&pool)
                layers.append(pool)
            default:
                var dropout = Layer.dropout(random.one(of: [0, 0.5]))
                dropout.name = random.once(in: 2) ? name("d") : nil
                finish(&dropout)
                layers.append(dropout)
            }
        }
        let conv = random.once(in: 3) ? nil : layers.last!.name
        layers.append(.flatten)
        var fc: String?
        for _ in 0..<random.below(3) {
            var hidden = Layer.linear(name("l"), random.within(1...9), bias: random.once(in: 2))
            finish(&hidden)
            layers.append(hidden)
            fc = random.once(in: 3) ? nil : hidden.name
        }
        layers.append(.linear(name("l"), random.within(1...9)))
        return EncoderDescription(layers: layers, features: "", conv: conv, fc: fc)
    }
}

/// All faults of a text; [] for a sound one.
func faults(_ text: String) -> [String] {
    do {
        _ = try Architecture.parse(text)
        return []
    } catch let error as ArchitectureError {
        return error.faults
    } catch {
        return ["another error: \(error)"]
    }
}
