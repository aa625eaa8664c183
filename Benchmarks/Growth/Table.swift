/// A curve as it is printed: a row for each point.
struct Table: Encodable {
    let name: String
    /// What was done, with units.
    let explanation: String
    let columns: [String]
    private(set) var rows: [[Cell]] = []
    /// Ratios that are judged.
    private(set) var bounds: [Bound] = []

    struct Bound: Encodable {
        let what: String
        let ratio: Double
        let ratioMax: Double
    }

    enum Cell: Encodable {
        case text(String)
        case count(Int)
        case figure(Double)
        case ratio(Double)
        case none
    }

    init(_ name: String, _ explanation: String, columns: [String]) {
        self.name = name
        self.explanation = explanation
        self.columns = columns
    }

    mutating func add(_ row: Cell...) { add(row) }

    mutating func add(_ row: [Cell]) {
        precondition(row.count == columns.count, "a row has a cell for each column")
        rows.append(row)
    }

    mutating func judge(_ what: String, ratio: Double, atMost ratioMax: Double) {
        bounds.append(Bound(what: what, ratio: ratio, ratioMax: ratioMax))
    }

    var isOverItsBound: Bool { bounds.contains { $0.ratio > $0.ratioMax } }

    /// The first column to the left, figures to the right.
    var text: String {
        let lines = [columns] + rows.map { $0.map(\.text) }
        let widths = columns.indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
        let aligned = lines.map { line in
            line.indices.map { column in
                let padding = String(repeating: " ", count: widths[column] - line[column].count)
                return column == 0 ? line[column] + padding : padding + line[column]
            }.joined(separator: "  ")
        }
        let judged = bounds.map { bound in
            let verdict = bound.ratio > bound.ratioMax ? "TOO MUCH: " : ""
            return "\(verdict)\(bound.what) \(Cell.ratio(bound.ratio).text) (at most x\(Int(bound.ratioMax)))"
        }
        return (["\(name): \(explanation)"] + (aligned + judged).map { "  " + $0 }).joined(separator: "\n")
    }
}

extension Table.Cell {
    var text: String {
        switch self {
        case .text(let text): text
        case .count(let count): Self.grouped(count)
        case .figure(let value): value < 100 ? Self.rounded(value) : Self.grouped(Int(value.rounded()))
        case .ratio(let value): "x" + Self.rounded(value)
        case .none: "-"
        }
    }

    /// One decimal; two below 10.
    private static func rounded(_ value: Double) -> String {
        let decimals = value < 10 ? 2 : 1
        let scale = decimals == 2 ? 100 : 10
        let whole = Int((value * Double(scale)).rounded())
        let rest = String(whole % scale)
        return "\(whole / scale)." + String(repeating: "0", count: decimals - rest.count) + rest
    }

    private static func grouped(_ value: Int) -> String {
        let digits = String(value)
        return digits.enumerated().map { at, digit in
            at > 0 && (digits.count - at) % 3 == 0 ? ",\(digit)" : "\(digit)"
        }.joined()
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .text(let text): try container.encode(text)
        case .count(let count): try container.encode(count)
        case .figure(let value), .ratio(let value): try container.encode(value)
        case .none: try container.encodeNil()
        }
    }
}
