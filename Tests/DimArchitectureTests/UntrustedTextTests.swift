import DimArchitecture
import Testing

/// Descriptions that were written to do harm: each ends as an error, soon.
@Suite struct UntrustedTextTests {
    @Test func brackets() {
        for text in [
            String(repeating: "[", count: 60_000), String(repeating: "{\"a\":", count: 10_000),
            #"{"encoder":"# + String(repeating: "[", count: 50_000),
        ] {
            #expect(faults(text).first?.contains("expected at most 16 arrays and objects within each other") == true)
        }
        #expect(
            faults(String(repeating: "[", count: 65_536)).first?.contains("expected at most 60000 bytes, found 65536")
                == true)
    }

    @Test func numbersThatAreNone() {
        for number in ["NaN", "nan", "Infinity", "-Infinity", "1e999", "-1e999", "0x10", "1_000", "", "1.", "--1"] {
            let found = faults(#"{"preset":"basic32","image":{"channels":\#(number)}}"#)
            #expect(found.count == 1 && found[0].hasPrefix("not a description in JSON: byte "), "\(number): \(found)")
        }
        for number in ["1e18", "1e300", "-9223372036854775808", "9223372036854775807", "1e-300", "65537", "-1"] {
            for text in [
                #"{"preset":"basic32","image":{"channels":\#(number)}}"#,
                #"{"preset":"basic32","image":{"height":\#(number)}}"#,
                #"{"preset":"basic32","prior":{"hidden":[\#(number)]}}"#,
                #"{"preset":"basic32","classifier":{"classes":\#(number)}}"#,
                #"{"preset":"basic32","local":{"score":"dot","units":\#(number)}}"#,
                #"{"preset":"basic32","encoder":{"layers":[{"op":"conv","name":"c0","out":\#(number),"kernel":1}]}}"#,
                #"{"preset":"basic32","encoder":{"layers":[{"op":"conv","name":"c0","out":1,"kernel":[1,\#(number)]}]}}"#,
                #"{"preset":"basic32","encoder":{"layers":[{"op":"avgpool","kernel":2,"stride":\#(number)}]}}"#,
                #"{"preset":"basic32","encoder":{"layers":[{"op":"avgpool","kernel":2,"padding":\#(number)}]}}"#,
            ] {
                #expect(!faults(text).isEmpty, "\(text)")
            }
        }
    }

    @Test func loneSurrogatesAndOtherText() {
        for name in [#"\ud800"#, #"\udfff"#, #"\ud800x"#, "\u{0}", "\n"] {
            #expect(faults(#"{"preset":"\#(name)"}"#).first?.hasPrefix("not a description in JSON: byte ") == true)
        }
        let bytes = Array(#"{"preset":""#.utf8) + [0xFF, 0xFE] + Array(#""}"#.utf8)
        #expect(throws: ArchitectureError.self) { try Architecture.parse(bytes) }
        #expect(
            faults(#"{"preset":"basic32","\u0070reset":"basic32"}"#).first?.contains(
                #"the key "preset" is listed twice"#) == true)
    }

    @Test func overflowingProducts() {
        let wide = #"{"op":"linear","name":"l%","out":65536}"#
        let layers = (0..<60).map { wide.replacing("%", with: "\($0)") }.joined(separator: ",")
        let text =
            #"{"preset":"basic32","encoder":{"layers":[{"op":"flatten"},\#(layers)],"features":"l0","conv":null,"fc":null}}"#
        let found = faults(text)
        #expect(
            found.count == 1 && found[0].hasPrefix("expected at most 268435456 parameters in all networks"), "\(found)")
        let conv = #"{"op":"conv","name":"c%","out":65536,"kernel":11}"#
        let convs = (0..<3).map { conv.replacing("%", with: "\($0)") }.joined(separator: ",")
        let big =
            #"{"preset":"basic32","image":{"channels":65536},"encoder":{"features":"c0","conv":null,"fc":null,"layers":["#
            + #"\#(convs),{"op":"flatten"},\#(wide.replacing("%", with: "0"))]}}"#
        #expect(faults(big).count == 1)
    }

    @Test func manyLayers() {
        let layer = #"{"op":"dropout"}"#
        func text(_ count: Int) -> String {
            let dropouts = String(repeating: layer + ",", count: count)
            return
                #"{"preset":"basic32","encoder":{"layers":[{"op":"conv","name":"c0","out":1,"kernel":1},\#(dropouts)"#
                + #"{"op":"flatten"},{"op":"linear","name":"l0","out":1}],"features":"c0","conv":null,"fc":null}}"#
        }
        #expect(faults(text(61)) == [])
        #expect(faults(text(62)) == ["encoder.layers: expected at most 64 entries, found 65"])
        #expect(faults(text(2900)).first == "encoder.layers: expected at most 64 entries, found 2903")
        // Within blocks as well.
        let inner = String(repeating: layer + ",", count: 20) + layer
        let blocks = (0..<3).map { #"{"op":"residual","name":"r\#($0)","layers":[\#(inner)]}"# }.joined(separator: ",")
        let nested =
            #"{"preset":"basic32","encoder":{"layers":[\#(blocks),{"op":"flatten"},{"op":"linear","name":"l0","out":1}],"#
            + #""features":"r0","conv":null,"fc":null}}"#
        #expect(faults(nested) == ["encoder.layers[2].layers[19]: expected at most 64 layers in a network"])
        // Nearly as many as fit into the text.
        let list = "[" + String(repeating: layer + ",", count: 60) + layer + "]"
        let many = (0..<50).map { #"{"op":"residual","name":"r\#($0)","layers":\#(list)}"# }.joined(separator: ",")
        #expect(!faults(#"{"preset":"basic32","encoder":{"layers":[\#(many)]}}"#).isEmpty)
    }

    @Test func deepBlocks() {
        func block(_ depth: Int) -> String {
            depth == 0
                ? #"{"op":"conv","name":"c0","out":3,"kernel":1}"#
                : #"{"op":"residual","name":"r0","layers":[\#(block(depth - 1))]}"#
        }
        func text(_ depth: Int) -> String {
            #"{"preset":"basic32","encoder":{"layers":[\#(block(depth)),{"op":"flatten"},{"op":"linear","name":"l0","out":1}],"#
                + #""features":"r0","conv":null,"fc":null}}"#
        }
        #expect(faults(text(6)) == [])
        #expect(faults(text(7)).first?.contains("expected at most 16 arrays and objects") == true)
    }

    @Test func theFullTextIsNoLongerThanWhatCanBeRead() {
        // 1e-06 is longer than 1e-6; written out, this one has more than 60,000 bytes.
        let means = (0..<11_000).map { $0 == 0 ? "2e-6" : "1e-6" }.joined(separator: ",")
        let text =
            #"{"preset":"basic32","image":{"channels":11000,"height":2,"width":2,"mean":[\#(means)]},"encoder":{"layers":["#
            + #"{"op":"flatten"},{"op":"linear","name":"l0","out":1},{"op":"linear","name":"l1","out":1}],"features":"l0","conv":null}}"#
        #expect(text.utf8.count < 60_000)
        #expect(faults(text).first?.hasPrefix("expected at most 60000 bytes with all keys written out, found ") == true)
    }

    /// Mutants of sound descriptions come to an architecture or to faults with places; what is accepted keeps the promises.
    @Test func mutants() throws {
        var accepted = 0
        let pieces =
            Architecture.presetNames.map { Array(Architecture.preset($0)!.json.utf8) }
            + (0..<40).map { Array(randomArchitecture(seed: $0).json.utf8) }
            + [Array(TextTests.basic32.utf8), Array(TextTests.notebook.utf8)]
        let literals = [
            "null", "0", "-1", "1", "2", "3", "65536", "65537", "2147483648", "9223372036854775807", "1e999", "1.5",
            "NaN", "true",
            "[]", "{}", "[1,2]", "\"\"", "\"c0\"", "\"c1\"", "\"conv\"", "\"linear\"", "\"flatten\"", "\"residual\"",
            "\"copy\"",
            "\"dot\"", "\"concat\"", "\"last\"", "\"batch\"", "\"layer\"", "\"\\ud800\"", ",", ":", "{", "}", "[", "]",
        ].map { Array($0.utf8) }
        for seed in 0..<20_000 {
            var random = Random(seed: seed)
            var text = random.one(of: pieces)
            for _ in 0...(random.once(in: 3) ? random.below(3) : 0) { mutate(&text, literals, &random) }
            do {
                let architecture = try Architecture.parse(text)
                let again = architecture.json
                #expect(try Architecture.parse(again) == architecture, "seed \(seed)")
                let specs = architecture.parameters
                #expect(specs.filter { !$0.isInteger }.reduce(0) { $0 + $1.count } <= Limits.parameters, "seed \(seed)")
                #expect(Set(specs.map(\.name)).count == specs.count, "seed \(seed)")
                accepted += 1
            } catch let error as ArchitectureError {
                #expect(error.count >= error.faults.count && !error.faults.isEmpty, "seed \(seed)")
                #expect(error.faults.allSatisfy { $0.utf8.count < 1000 }, "seed \(seed)")
            }
        }
        // Both verdicts are met.
        #expect((500..<15_000).contains(accepted), "\(accepted)")
    }

    private func mutate(_ text: inout [UInt8], _ literals: [[UInt8]], _ random: inout Random) {
        guard text.count > 8 else { return }
        switch random.below(12) {
        case 0: text[random.below(text.count)] = UInt8(random.below(256))
        case 1: text.insert(contentsOf: random.one(of: literals), at: random.below(text.count))
        case 2:
            let at = random.below(text.count)
            text.removeSubrange(at..<min(text.count, at + 1 + random.below(12)))
        case 3:  // One piece takes another's place.
            let from = random.below(text.count), to = random.below(text.count)
            let piece = text[from..<min(text.count, from + 1 + random.below(60))]
            text.replaceSubrange(to..<min(text.count, to + piece.count), with: piece)
        default:  // A value takes another's place: what stays JSON gets farther.
            let separators = Set(",:[]{}".utf8)
            let starts = text.indices.filter {
                $0 > 0 && separators.contains(text[$0 - 1]) && !separators.contains(text[$0])
            }
            guard let start = starts.isEmpty ? nil : random.one(of: starts) else { return }
            let end = text[start...].firstIndex { separators.contains($0) } ?? text.count
            // Often another value of the same text: names, operators and small numbers fit anywhere.
            guard !random.once(in: 3), let other = Optional(random.one(of: starts)) else {
                return text.replaceSubrange(start..<end, with: random.one(of: literals))
            }
            let otherEnd = text[other...].firstIndex { separators.contains($0) } ?? text.count
            text.replaceSubrange(start..<end, with: Array(text[other..<otherEnd]))
        }
    }
}
