/// A set of packet identifiers: 64 pages of 1,024 bits, each made when it is first needed.
package struct PacketIDSet: Sendable {
    private var pages: [[UInt64]] = []
    package private(set) var count = 0

    package init() {}

    package func contains(_ id: UInt16) -> Bool {
        guard !pages.isEmpty else { return false }
        let page = pages[Int(id >> 10)]
        return !page.isEmpty && page[Int(id >> 6 & 15)] & (1 << UInt64(id & 63)) != 0
    }

    /// In ascending order.
    package var all: [UInt16] { count == 0 ? [] : (0...UInt16.max).filter(contains) }

    /// Whether the identifier was not there before.
    @discardableResult
    package mutating func insert(_ id: UInt16) -> Bool {
        guard !contains(id) else { return false }
        if pages.isEmpty { pages = Array(repeating: [], count: 64) }
        let page = Int(id >> 10)
        if pages[page].isEmpty { pages[page] = Array(repeating: 0, count: 16) }
        pages[page][Int(id >> 6 & 15)] |= 1 << UInt64(id & 63)
        count += 1
        return true
    }

    /// Whether the identifier was there.
    @discardableResult
    package mutating func remove(_ id: UInt16) -> Bool {
        guard contains(id) else { return false }
        pages[Int(id >> 10)][Int(id >> 6 & 15)] &= ~(1 << UInt64(id & 63))
        count -= 1
        return true
    }
}
