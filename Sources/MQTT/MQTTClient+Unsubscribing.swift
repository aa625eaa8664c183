import MQTTPackets

extension MQTTClient {
    /// Has the server forget these filters, whoever has subscribed to them in this session: an earlier program, or this
    /// one, whose sequences go on without them. Returns once the server has answered.
    ///
    /// - Parameters:
    ///   - properties: user properties of UNSUBSCRIBE in 5.0 (section 3.10.2.1).
    package func unsubscribe(
        from filters: [String],
        properties: Properties = Properties()
    ) async throws(MQTTError) {
        if let stray = filters.first(where: { ParsedFilter($0) == nil }) {
            throw .invalidArgument("\(stray) is not a topic filter")
        }
        let buffer = MessageBuffer(outbox: outbox, bytesMax: 1, acknowledgesWhenTaken: true)
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation(isolation: nil) { waiter in
                outbox.perform { $0.unsubscribe(from: filters, properties, buffer, waiter) }
                if Task.isCancelled { outbox.perform { $0.cancelUnsubscription(buffer) } }
            }
        } onCancel: {
            outbox.perform { $0.cancelUnsubscription(buffer) }
        }
        try result.get()
    }
}

extension ClientDriver {
    /// `buffer` gets nothing: it names the call.
    fileprivate func unsubscribe(
        from filters: [String],
        _ properties: Properties,
        _ buffer: MessageBuffer,
        _ waiter: CheckedContinuation<Result<Void, MQTTError>, Never>
    ) {
        guard !isEnding else { return waiter.resume(returning: .failure(.closed)) }
        for filter in filters {
            guard let entry = table[filter] else { continue }
            table.remove(entry)
            for sink in entry.sinks { sink.entries.removeAll { $0 === entry } }
            for call in entry.calls {
                call.end(.failure(.cancelled))
                abandon(call.sink, nil, discarding: true)
            }
        }
        guard isConnected, !filters.isEmpty else {
            unwanted.formUnion(filters)
            return waiter.resume(returning: .success(()))
        }
        let call = UnsubscribeCall(Sink(buffer), filters.count, waiter)
        for filter in filters { sendUnsubscribe(filter, call, properties) }
    }
}
