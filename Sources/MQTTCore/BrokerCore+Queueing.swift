import MQTTPackets
import MQTTSessions
import MQTTStore

/// What is stored of a message on its way to a session that outlives its connection.
extension BrokerCore {
    /// Messages that count as sent, of which one is to be sent.
    private static var sendMarkStep: UInt64 { 200 }

    /// The last change is the queueing.
    mutating func change(
        _ s: Int,
        queueing message: Message,
        _ qos: QoS,
        _ isRetained: Bool,
        _ identifiers: [UInt32],
        _ group: UInt32
    ) {
        guard sessions[s].hasStoredQueue, sessions[s].isStored else { return }
        let number = sessions[s].state.outbound.end
        // It can be sent as soon as it is committed: then it need not wait once more for the mark.
        let isNext = sessions[s].connection >= 0 && sessions[s].state.outbound.queued < limits.inFlightMax
        if qos == .exactlyOnce && isNext && sessions[s].state.outbound.sendMark <= number {
            change(s) { .sendMark(incarnation: $0, end: number + 1) }
            sessions[s].state.outbound.raiseSendMark(to: number + 1, ticket: ticket)
        }
        let incarnation = sessions[s].state.incarnation
        append(
            .queued(
                StoredMessage(
                    number: number,
                    message: message,
                    qos: qos,
                    isRetained: isRetained,
                    identifiers: identifiers,
                    sharedFilter: group == 0 ? "" : tree.group(id: group).map { tree.groups[Int($0)].filter } ?? ""
                ),
                incarnation: incarnation
            )
        )
        changed(s)
    }

    /// Messages of QoS 2 from here on count as sent, once that is committed.
    mutating func raiseSendMark(_ s: Int, from number: UInt64) {
        let end = min(sessions[s].state.outbound.end, number + Self.sendMarkStep)
        change(s) { .sendMark(incarnation: $0, end: end) }
        sessions[s].state.outbound.raiseSendMark(to: end, ticket: awaited(ticket, .sendMark))
    }

    /// The client may hold this identifier for received: with another message it would be taken for the same.
    mutating func retire(_ packetID: UInt16, _ s: Int) {
        sessions[s].state.outbound.retire(packetID)
        change(s) { .retired(incarnation: $0, packetID: packetID) }
    }
}
