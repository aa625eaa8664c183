import MQTTPackets

extension BrokerCore {
    /// Counts copies that do not reach their receiver; -1 where there is no one session.
    mutating func drop(_ cause: DropCause, _ s: Int, count: Int = 1, bytes: Int, of message: Message? = nil) {
        guard count > 0 else { return }
        if isObserved { emitDropped(message, s, cause, count) }
        statistics.dropped.count(cause, UInt64(count))
        statistics.publishBytesDropped &+= UInt64(bytes)
        guard s >= 0, !sessions[s].isFree else { return dropsOfNobody.count(cause, UInt64(count)) }
        sessions[s].drops.count(cause, UInt64(count))
        guard !sessions[s].isDropping else { return }
        sessions[s].isDropping = true
        dropping.append(Int32(s))
    }

    private mutating func emitDropped(_ message: Message?, _ s: Int, _ cause: DropCause, _ count: Int) {
        let receiver = s >= 0 && !sessions[s].isFree ? sessions[s].state.clientID : nil
        observed.append(.dropped(message, receiver: receiver, cause: cause, count: count))
    }
}
