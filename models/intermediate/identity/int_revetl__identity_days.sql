{# Of the models that record their changes in int_revetl__message_changes, there are none. #}
{% set rules = revetl.identity_rules() %}
{% set columns = revetl.identifier_columns(rules) %}

with blocked as (

    select {{ revetl.hash_columns(['identifier_type', 'identifier_value']) }} as blocked_hash
    from {{ revetl.identity_list('blocked_identifiers') }}

),

{% for model, seen in rules.models.items() -%}
{% set relation = revetl.model_or_source(model) -%}
{% if not execute or not revetl.records_changes(model) -%}
{{ seen.source | replace('.', '_') }}_messages as (

    select
        cast(moment as date) as day,
        {{ revetl.hash_columns(['source', 'message_id', 'moment'] + columns | map(attribute='name') | list) }} as message_hash
    from (
        select
            '{{ seen.source }}' as source,
            cast({{ seen.message_id }} as {{ revetl.type_of('varchar') }}) as message_id,
            {%- for column in columns %}
            {{ revetl.first_of(seen.identifiers.get(column.name, [])) }} as {{ column.name }},
            {%- endfor %}
            {{ seen.timestamp }} as moment
        from {{ relation }}
    ) as messages
    where moment is not null

),
{%- endif %}
{%- endfor %}

-- No day's: what is blocked changes messages of any.
sums as (

    select
        cast(null as date) as day,
        count(*) as message_count,
        sum(cast(blocked_hash as {{ revetl.type_of('decimal(38, 0)') }})) as hash_sum
    from blocked
    {%- for model, seen in rules.models.items() if not execute or not revetl.records_changes(model) %}
    union all
    select
        day,
        count(*) as message_count,
        sum(cast(message_hash as {{ revetl.type_of('decimal(38, 0)') }})) as hash_sum
    from {{ seen.source | replace('.', '_') }}_messages
    group by day
    {%- endfor %}

),

days as (

    select
        day,
        sum(message_count) as message_count,
        sum(hash_sum) as hash_sum
    from sums
    group by day

)

select * from days
