/// From the text of a description to an Architecture. Types and keys are checked here, and listed with what Validation
/// and Inference find afterwards. A wrong member gets a value within its range, so that it is reported only once.
extension Architecture {
    /// Throws an ArchitectureError with all faults and their places.
    package static func parse(_ text: [UInt8]) throws -> Architecture {
        let json: JSON
        do {
            json = try JSON.parse(text, limits: JSON.Limits(bytes: Limits.bytes, depth: Limits.depth))
        } catch let failure as JSON.Failure {
            throw ArchitectureError(faults: ["not a description in JSON: \(failure)"], count: 1)
        }
        var decoding = Decoding(text: text)
        let architecture = decoding.architecture(json)
        _ = try architecture.resolve(after: decoding.faults)
        let full = architecture.json.utf8.count
        guard full <= Limits.bytes else {
            let fault = "expected at most \(Limits.bytes) bytes with all keys written out, found \(full)"
            throw ArchitectureError(faults: [fault], count: 1)
        }
        return architecture
    }

    package static func parse(_ text: String) throws -> Architecture { try parse(Array(text.utf8)) }
}

struct Decoding {
    let text: [UInt8]
    var faults = Faults()
    /// An unknown preset: what it would have given is not missing.
    private var isBaseUnknown = false

    init(text: [UInt8]) { self.text = text }

    /// The members of an object by their keys; The subscript treats null as absent; `isNull` tells them apart.
    private struct Members {
        let place: String
        var values: [String: JSON] = [:]

        func at(_ key: String) -> String { place.isEmpty ? key : "\(place).\(key)" }
        func isNull(_ key: String) -> Bool { if case .null? = values[key]?.value { true } else { false } }
        /// A value other than null.
        subscript(_ key: String) -> JSON? { isNull(key) ? nil : values[key] }
        func has(_ key: String) -> Bool { values[key] != nil }
    }

    mutating func architecture(_ json: JSON) -> Architecture {
        let keys = [
            "version", "preset", "image", "encoder", "local", "global", "prior", "classifier", "coordinates",
        ]
        let root = members(json, "", keys, "a description")
        if case .object = json.value {} else { isBaseUnknown = true }
        if let version = root["version"] {
            if case .integer(1) = version.value {
            } else {
                faults.note("version", "expected 1, found \(found(version))")
            }
        }
        let base = root["preset"].flatMap { preset($0) }
        return Architecture(
            preset: base?.preset, image: image(root, base?.image), encoder: encoder(root, base?.encoder),
            local: root.has("local") ? head(root, "local") : base?.local,
            global: root.has("global") ? head(root, "global") : base?.global, prior: prior(root, base?.prior),
            classifier: classifier(root, base?.classifier),
            coordinates: root.has("coordinates") ? coordinates(root) : base?.coordinates)
    }

    private mutating func preset(_ json: JSON) -> Architecture? {
        if case .string(let name) = json.value, let preset = Architecture.preset(name) { return preset }
        isBaseUnknown = true
        let known = Architecture.presetNames.map(quoted).joined(separator: ", ")
        faults.add("preset", "expected one of \(known), found \(found(json))")
        return nil
    }

    // MARK: Values

    private func found(_ json: JSON) -> String { json.found(in: text) }

    private mutating func members(_ json: JSON, _ place: String, _ keys: [String], _ owner: String) -> Members {
        var result = Members(place: place)
        guard case .object(let list) = json.value else {
            faults.add(place, "expected an object, found \(found(json))")
            return result
        }
        for (key, value) in list {
            let known = key.knownName
            if keys.contains(known) {
                result.values[known] = value
            } else {
                faults.note(
                    result.at(quotedKey(key)), "unknown key; \(owner) has \(keys.joined(separator: ", "))")
            }
        }
        return result
    }

    /// A key as part of a place: quoted unless it is a plain name.
    private func quotedKey(_ key: String) -> String {
        let isPlain =
            key.utf8.count <= 40 && !key.isEmpty && key.utf8.allSatisfy { (97...122).contains($0) || $0 == 95 }
        return isPlain ? key : quoted(key)
    }

    /// A required entry that is absent.
    private mutating func missing(_ place: String, _ what: String) {
        if isBaseUnknown { faults.touchSilently(place) } else { faults.add(place, "missing; expected \(what)") }
    }

    private mutating func integer(_ json: JSON, _ place: String) -> Int? {
        switch json.value {
        case .integer(let value): return value
        case .number(let value) where abs(value) >= 0x1p63:
            faults.add(place, "expected a smaller integer, found \(found(json))")
        default: faults.add(place, "expected an integer, found \(found(json))")
        }
        return nil
    }

    private mutating func integer(_ members: Members, _ key: String, _ base: Int?, else placeholder: Int = 1) -> Int {
        if let json = members.values[key] { return integer(json, members.at(key)) ?? placeholder }
        if let base { return base }
        missing(members.at(key), "an integer")
        return placeholder
    }

    private mutating func number(_ json: JSON, _ place: String) -> Double? {
        switch json.value {
        case .integer(let value): return Double(value)
        // -0 is 0: the canonical text has one of them.
        case .number(let value): return value + 0
        default: faults.add(place, "expected a number, found \(found(json))")
        }
        return nil
    }

    private mutating func bool(_ members: Members, _ key: String, _ standard: Bool) -> Bool {
        guard let json = members.values[key] else { return standard }
        if case .bool(let value) = json.value { return value }
        faults.add(members.at(key), "expected true or false, found \(found(json))")
        return standard
    }

    private mutating func string(_ json: JSON, _ place: String) -> String? {
        if case .string(let value) = json.value { return value.knownName }
        faults.add(place, "expected a string, found \(found(json))")
        return nil
    }

    private mutating func choice<T: CaseIterable & RawRepresentable>(_ json: JSON, _ place: String) -> T?
    where T.RawValue == String {
        if case .string(let name) = json.value, let value = T(rawValue: name.knownName) { return value }
        faults.add(place, "expected \(alternatives(T.self)), found \(found(json))")
        return nil
    }

    private mutating func array(_ json: JSON, _ place: String, _ what: String, atMost limit: Int) -> [JSON] {
        guard case .array(let list) = json.value else {
            faults.add(place, "expected \(what), found \(found(json))")
            return []
        }
        if list.count > limit {
            faults.add(place, "expected at most \(limit) entries, found \(list.count)")
            return []
        }
        return list
    }

    /// A number for both, or rows and columns.
    private mutating func pair(_ members: Members, _ key: String, _ standard: Layer.Pair?) -> Layer.Pair {
        guard let json = members.values[key] else {
            if standard == nil { missing(members.at(key), "an integer, or a pair of them") }
            return standard ?? Layer.Pair(1)
        }
        guard case .array(let list) = json.value else {
            return Layer.Pair(integer(json, members.at(key)) ?? 1)
        }
        guard list.count == 2 else {
            faults.add(members.at(key), "expected an integer, or a pair of them, found \(list.count) entries")
            return Layer.Pair(1)
        }
        let rows = integer(list[0], members.at(key) + "[0]"), columns = integer(list[1], members.at(key) + "[1]")
        return Layer.Pair(rows ?? 1, columns ?? 1)
    }

    private mutating func hidden(_ members: Members, _ base: [Int]?) -> [Int] {
        guard let json = members.values["hidden"] else {
            if base == nil { missing(members.at("hidden"), "sizes of the hidden layers, as in [512, 512]") }
            return base ?? []
        }
        let place = members.at("hidden")
        let list = array(json, place, "sizes of the hidden layers, as in [512, 512]", atMost: Limits.layers - 1)
        return list.enumerated().map { integer($1, "\(place)[\($0)]") ?? 1 }
    }

    // MARK: Image

    private mutating func image(_ root: Members, _ base: ImageDescription?) -> ImageDescription {
        guard let json = root.values["image"] else {
            if base == nil { missing("image", "an object with channels, height and width") }
            return base ?? ImageDescription(channels: 1, height: 1, width: 1)
        }
        let members = members(json, "image", ["channels", "height", "width", "mean", "std", "resize"], "image")
        if faults.touch("image") && members.values.isEmpty { return ImageDescription(channels: 1, height: 1, width: 1) }
        let resize: ImageDescription.Resize? = members["resize"].flatMap { choice($0, "image.resize") }
        let channels = integer(members, "channels", base?.channels)
        let known = faults.touch("image.channels") ? nil : channels
        return ImageDescription(
            channels: channels, height: integer(members, "height", base?.height),
            width: integer(members, "width", base?.width),
            mean: channelNumbers(members, "mean", known, base?.mean, 0),
            std: channelNumbers(members, "std", known, base?.std, 1),
            resize: members.has("resize") ? resize ?? .fit : base?.resize ?? .fit)
    }

    private mutating func channelNumbers(
        _ members: Members, _ key: String, _ channels: Int?, _ base: [Double]?, _ standard: Double
    ) -> [Double] {
        guard let json = members[key] else { return members.has(key) ? [standard] : base ?? [standard] }
        let place = members.at(key)
        guard case .array = json.value else { return [number(json, place) ?? standard] }
        let list = array(json, place, "a number, or one per channel", atMost: Limits.channels)
        if list.isEmpty && !faults.touch(place) { faults.add(place, "expected a number, or one per channel, found []") }
        let numbers = list.enumerated().map { number($1, "\(place)[\($0)]") ?? standard }
        // Equal numbers become one, whatever their count: here it is still known.
        if let channels, !list.isEmpty, list.count != 1, list.count != channels, !faults.touch(place) {
            faults.add(place, "expected a number, or one for each of \(channels) channels, found \(list.count)")
        }
        return numbers.isEmpty ? [standard] : numbers
    }

    // MARK: Encoder

    private mutating func encoder(_ root: Members, _ base: EncoderDescription?) -> EncoderDescription {
        guard let json = root.values["encoder"] else {
            if base == nil {
                missing("encoder", "an object with layers and features")
                faults.touchSilently("encoder.layers")
            }
            return base ?? EncoderDescription(layers: [], features: "")
        }
        let members = members(json, "encoder", ["layers", "norms", "features", "conv", "fc"], "encoder")
        if members.values.isEmpty, faults.touch("encoder") {
            faults.touchSilently("encoder.layers")
            return EncoderDescription(layers: [], features: "")
        }
        var list = base?.layers ?? []
        if let json = members.values["layers"] {
            list = layers(json, "encoder.layers")
        } else if base == nil {
            missing("encoder.layers", "an array of layers")
        }
        var normsLast = members.has("norms") ? false : base?.normsLast ?? false
        if let norms = members["norms"] {
            normsLast = true
            if case .string("last") = norms.value {
            } else {
                faults.add("encoder.norms", "expected \"last\" or null, found \(found(norms))")
            }
        }
        var features = base?.features ?? ""
        if let json = members.values["features"] {
            features = string(json, "encoder.features") ?? ""
        } else if base == nil {
            missing("encoder.features", "the name of a layer")
        }
        func reference(_ key: String, _ inherited: String?, _ standard: String?) -> String? {
            if let json = members[key] { return string(json, "encoder." + key) }
            return members.has(key) ? nil : base == nil ? standard : inherited
        }
        return EncoderDescription(
            layers: list, normsLast: normsLast, features: features,
            conv: reference("conv", base?.conv, EncoderDescription.lastMap(list)),
            fc: reference("fc", base?.fc, EncoderDescription.lastHidden(list)))
    }

    private mutating func layers(_ json: JSON, _ place: String) -> [Layer] {
        array(json, place, "an array of layers", atMost: Limits.layers).enumerated().map {
            layer($1, "\(place)[\($0)]")
        }
    }

    private mutating func layer(_ json: JSON, _ place: String) -> Layer {
        guard case .object(let list) = json.value else {
            faults.add(place, "expected an object, found \(found(json))")
            faults.touchSilently(place + ".op")
            return Layer(.flatten)
        }
        let given = list.first { $0.key.knownName == "op" }?.value
        let op: Layer.Operation? = given.flatMap { choice($0, place + ".op") }
        guard let op else {
            if given == nil { faults.add(place + ".op", "missing; expected \(alternatives(Layer.Operation.self))") }
            var layer = Layer(.flatten)
            if case .string(let name)? = list.first(where: { $0.key.knownName == "name" })?.value.value {
                layer.name = name.knownName
            }
            return layer
        }
        let members = members(json, place, Layer.keys(op).map(\.rawValue), op.rawValue)
        var layer = Layer(op, members["name"].flatMap { string($0, place + ".name") })
        if layer.isProduct {
            layer.out = integer(members, "out", nil)
            layer.bias = bool(members, "bias", true)
        }
        if op == .conv || layer.isPool {
            layer.kernel = pair(members, "kernel", nil)
            layer.stride = pair(members, "stride", layer.isPool ? poolStride(layer.kernel, members) : Layer.Pair(1))
            layer.padding = pair(members, "padding", Layer.Pair(0))
        }
        if op == .dropout, let json = members["dropout"] {
            layer.probability = number(json, place + ".dropout") ?? 0
        }
        if op == .residual {
            if let json = members.values["layers"] {
                layer.layers = layers(json, place + ".layers")
            } else {
                missing(place + ".layers", "an array of layers")
            }
            if let json = members["shortcut"] {
                var shortcut = self.layer(json, place + ".shortcut")
                if shortcut.name == nil && !faults.touch(place + ".shortcut.name") { shortcut.rename("s0") }
                layer.shortcut = shortcut
            }
        }
        let norm: Layer.Norm? = members["norm"].flatMap { choice($0, place + ".norm") }
        let normName = members["norm_name"].flatMap { string($0, place + ".norm_name") }
        if normName != nil && norm == nil && !faults.touch(place + ".norm") {
            faults.note(place + ".norm_name", "expected null, since there is no norm, found \(quoted(normName ?? ""))")
        }
        layer.setNorm(norm, normName)
        layer.activation = members["activation"].flatMap { choice($0, place + ".activation") }
        return layer
    }

    /// The kernel; one that is too large is reported once, as the kernel.
    private func poolStride(_ kernel: Layer.Pair, _ members: Members) -> Layer.Pair {
        kernel.rows > Limits.kernel || kernel.columns > Limits.kernel || faults.touch(members.at("kernel"))
            ? Layer.Pair(1) : kernel
    }

    // MARK: The other networks

    private mutating func head(_ root: Members, _ key: String) -> HeadDescription? {
        guard let json = root[key] else { return nil }
        guard case .object(let list) = json.value else {
            faults.add(key, "expected an object or null, found \(found(json))")
            return nil
        }
        let given = list.first { $0.key.knownName == "score" }?.value
        guard let score: HeadDescription.Score = given.flatMap({ choice($0, key + ".score") }) else {
            if given == nil {
                faults.add(key + ".score", "missing; expected \(alternatives(HeadDescription.Score.self))")
            }
            return nil
        }
        let keys = HeadDescription.keys(score, isGlobal: key == "global").map(\.rawValue)
        let members = members(json, key, keys, "a \(score.rawValue) head")
        let input: HeadDescription.Input? = members["input"].flatMap { choice($0, key + ".input") }
        switch score {
        case .dot:
            let net: HeadDescription.Net? = members["net"].flatMap { choice($0, key + ".net") }
            return .dot(net: net ?? .authors, units: integer(members, "units", nil), input: input ?? .features)
        case .concat:
            let own = members["layers"].map { layers($0, key + ".layers") }
            return .concat(hidden: hidden(members, nil), layers: own ?? [], input: input ?? .features)
        }
    }

    private mutating func prior(_ root: Members, _ base: PriorDescription?) -> PriorDescription? {
        guard let json = root["prior"] else { return root.has("prior") ? nil : base }
        let members = members(json, "prior", ["hidden", "squash"], "prior")
        if members.values.isEmpty && faults.touch("prior") { return nil }
        let squash: PriorDescription.Squash? = members["squash"].flatMap { choice($0, "prior.squash") }
        return PriorDescription(
            hidden: hidden(members, base?.hidden),
            squash: members.has("squash") ? squash ?? .none : base?.squash ?? .none)
    }

    private mutating func coordinates(_ root: Members) -> CoordinatesDescription? {
        guard let json = root["coordinates"] else { return nil }
        let members = members(json, "coordinates", ["hidden"], "coordinates")
        if members.values.isEmpty && faults.touch("coordinates") { return nil }
        return CoordinatesDescription(hidden: hidden(members, nil))
    }

    private mutating func classifier(_ root: Members, _ base: ClassifierDescription?) -> ClassifierDescription? {
        guard let json = root["classifier"] else { return root.has("classifier") ? nil : base }
        let members = members(
            json, "classifier", ["hidden", "dropout", "classes", "output_norm", "names"], "classifier")
        if members.values.isEmpty && faults.touch("classifier") { return nil }
        var dropout = members.has("dropout") ? 0 : base?.dropout ?? 0
        if let json = members["dropout"] { dropout = number(json, "classifier.dropout") ?? 0 }
        var outputNorm = members.has("output_norm") ? false : base?.outputNorm ?? false
        if let json = members["output_norm"] {
            outputNorm = true
            if case .string("batch") = json.value {
            } else {
                faults.add("classifier.output_norm", "expected \"batch\" or null, found \(found(json))")
            }
        }
        var result = ClassifierDescription(
            hidden: hidden(members, base?.hidden), dropout: dropout,
            classes: integer(members, "classes", base?.classes, else: 2), outputNorm: outputNorm,
            names: members.has("names") ? nil : base?.names)
        if let json = members["names"] { result.names = names(json) }
        if result.names == ClassifierDescription.defaultNames(result.hidden.count + 1, outputNorm: outputNorm) {
            result.names = nil
        }
        return result
    }

    private mutating func names(_ json: JSON) -> [[String]] {
        let place = "classifier.names", what = "names, as in [[\"l0\", \"l0_norm\"], [\"l1\"]]"
        return array(json, place, what, atMost: Limits.layers).enumerated().map { index, entry in
            let at = "\(place)[\(index)]"
            return array(entry, at, "an array of one or two names", atMost: 2).enumerated().map {
                string($1, "\(at)[\($0)]") ?? ""
            }
        }
    }
}

extension EncoderDescription {
    /// Defaults of conv and fc: the last layer before flatten, and the last linear layer before the last layer; nil if it
    /// has no name.
    static func lastMap(_ layers: [Layer]) -> String? {
        layers.firstIndex { $0.op == .flatten }.flatMap { $0 > 0 ? layers[$0 - 1].name : nil }
    }

    static func lastHidden(_ layers: [Layer]) -> String? { layers.dropLast().last { $0.op == .linear }?.name }
}

extension Layer {
    mutating func rename(_ name: String) {
        let wasDefault = normName == nil
        self.name = name
        if wasDefault { setNorm(norm) }
    }
}
