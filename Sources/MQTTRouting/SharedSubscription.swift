/// The members of one shared subscription, of which each message goes to one (MQTT 5.0, section 4.8.2).
package struct SharedSubscription: Sendable {
    /// Never given again, unlike the number of its slot.
    package let id: UInt32
    package let name: [UInt8]
    /// As clients write it, with `$share/`.
    package let filter: String
    /// Its place among those of its node.
    var position: Int
    /// Numbers of subscriptions.
    package private(set) var members: [Int32] = []
    /// The position of the member whose turn is next.
    package var turn = 0

    init(id: UInt32, name: [UInt8], filter: String, position: Int) {
        self.id = id
        self.name = name
        self.filter = filter
        self.position = position
    }

    mutating func append(_ subscription: Int32) -> Int {
        members.append(subscription)
        return members.count - 1
    }

    /// Gives the member that now stands at `position`, if another took the place.
    mutating func remove(at position: Int) -> Int32? {
        let last = members.removeLast()
        if turn >= members.count { turn = 0 }
        guard position < members.count else { return nil }
        members[position] = last
        return last
    }
}
