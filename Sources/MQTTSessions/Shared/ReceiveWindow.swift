/// The receiving side of QoS 1 and 2: which identifiers of QoS 2 have been received and not yet released, and how many
/// PUBLISH packets this connection has not had its final answer to.
///
/// The identifiers belong to the session. The count belongs to the connection: identifiers of an earlier one do not
/// count against Receive Maximum, or a correct client would be refused for ever.
package struct ReceiveWindow: Sendable {
    package private(set) var unreleased = PacketIDSet()
    private var countedHere = PacketIDSet()
    /// How many PUBLISH packets of QoS 1 and 2 of this connection still wait for PUBACK, PUBCOMP or an error.
    package private(set) var unacknowledged = 0

    package init() {}

    package mutating func connectionBegan() {
        countedHere = PacketIDSet()
        unacknowledged = 0
    }

    /// A PUBLISH at QoS 2 came. False where it repeats one that has not been released [MQTT-4.3.3-10].
    package mutating func received(_ id: UInt16) -> Bool {
        let isNew = unreleased.insert(id)
        if countedHere.insert(id) { unacknowledged += 1 }
        return isNew
    }

    /// PUBREL came, or the PUBLISH was answered with an error. False where the identifier is not known.
    @discardableResult
    package mutating func released(_ id: UInt16) -> Bool {
        if countedHere.remove(id) { unacknowledged -= 1 }
        return unreleased.remove(id)
    }

    /// A PUBLISH at QoS 1 came, whose PUBACK will wait.
    package mutating func receivedAtLeastOnce() { unacknowledged += 1 }

    /// Its PUBACK has been sent.
    package mutating func acknowledged() { unacknowledged -= 1 }
}
