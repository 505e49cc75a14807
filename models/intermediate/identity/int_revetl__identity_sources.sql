{{ config(materialized=revetl.view_kind()) }}

with {{ revetl.shown_identifiers('messages') }}

select * from messages
