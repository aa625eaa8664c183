import MQTTPackets
import MQTTSessions
import NIOCore

/// How a client takes its leave.
enum Farewell: Sendable {
    /// With DISCONNECT; 0x04 asks for the will (MQTT 5.0, section 3.14.2.1).
    case disconnect(ReasonCode, Properties)
    /// Without a word: the server publishes the will.
    case abrupt
}

extension ClientDriver {
    /// Ends the client. What it was given before is sent; what is not answered then is not waited for.
    func end(_ farewell: Farewell) {
        guard !isEnding else {
            if case .abrupt = farewell { handler?.close() }
            return
        }
        // What the store has, the next run sends.
        if case .disconnect = farewell, isConnected || hasStore { takePublications() }
        isEnding = true
        attempt?.error = failure
        preparing?.cancel()
        endPause()
        guard let handler else {
            if let attempt { over(attempt.number, .closed) }
            return
        }
        switch farewell {
        case .disconnect(let reasonCode, let properties) where isConnected:
            // A client in the middle of a packet that the server sends is not waited for.
            let packet = Packet.disconnect(Disconnect(reasonCode: reasonCode, properties: properties))
            session.disconnect(reasonCode, properties: session.isTooLarge(packet) ? Properties() : properties)
            write()
            handler.closeAfterWrites()
        default: handler.close()
        }
    }

    /// The server does not take what it was to be sent before the end.
    func stalled(_ handler: ClientHandler) {
        guard self.handler === handler, failure == nil else { return }
        failure = .connectionLost("the server takes nothing more")
        attempt?.error = failure
    }

    /// `run()` is over: everybody who waits is told.
    func ended(_ error: MQTTError?) {
        isEnding = true
        let cause = error ?? .closed
        for publication in offline.map(\.publication) + outbox.end() { finish(publication, .failure(cause)) }
        offline = []
        offlineBytes = 0
        for message in pending.removeAll() {
            if let waiter = message.waiter {
                waiter.resume(returning: .failure(cause))
            }
            // The next run publishes what the store has.
            else if !hasStore {
                tell(message.id, .failure(cause))
            }
        }
        awaitedPublishes = 0
        for flush in flushes { flush.waiter.resume(returning: .failure(cause)) }
        flushes = []
        for entry in table.entries.values {
            for call in entry.calls { call.end(.failure(cause)) }
            for sink in entry.sinks { sink.buffer.finish(discarding: false) }
            table.remove(entry)
        }
        unclaimed?.buffer.finish(discarding: false)
        unclaimed = nil
        ageTimer?.cancel()
        status.closed(error)
    }
}
