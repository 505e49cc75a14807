{# From messages to pairs of identifiers, as the CTEs of a query. `int_revetl__identity_sources`, `…_messages` and `…_stars`
   are views of all messages. A build that patches reads only what may have changed (`parts`, see `identity_parts`):
   `int_revetl__identity_changes` has these CTEs in its own query, so that it compares the same parts of messages and of
   sightings, whatever a selection leaves out. #}

{# The CTE `name`: the identifiers of every message as they are, of the `parts` that are given or of all. #}
{% macro shown_identifiers(name, parts=none) %}
{%- set rules = revetl.identity_rules() %}
{%- set columns = revetl.identifier_columns(rules) %}
{{ name }}_as_written as (

    {% for model, seen in rules.models.items() %}
    {%- set part = none if parts is none else revetl.identity_part_of(seen.source, parts) %}
    select
        '{{ seen.source }}' as source,
        cast({{ seen.message_id }} as {{ revetl.type_of('varchar') }}) as message_id,
        {%- for column in columns %}
        {{ revetl.first_of(seen.identifiers.get(column.name, [])) }} as {{ column.name }},
        {%- endfor %}
        {{ seen.timestamp }} as timestamp
    from {{ revetl.model_or_source(model) }} as seen -- noqa: AL05
    {%- if parts is not none and part is none %}
    where {{ revetl.never() }}
    {%- elif parts is not none and part.by == 'changes' %}
    where exists (
            select 1 from {{ ref('revetl', 'int_revetl__message_changes') }} as changes
            where
                changes.source = '{{ seen.source }}'
                and changes.message_id = seen.message_id
                and changes.timestamp = seen.timestamp
        )
    {%- elif parts is not none and part.by is not none %}
    where {{ revetl.is_on_days(seen.timestamp, part.by) }}
    {%- endif %}
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

{{ name }}_as_text as (

    select
        source,
        message_id,
        {%- for column in columns %}
        cast({{ column.name }} as {{ revetl.type_of('varchar') }}) as {{ column.name }},
        {%- endfor %}
        timestamp
    from {{ name }}_as_written

),

-- An object is never an identifier, and each engine writes it with its own spaces and order.
{{ name }} as (

    select
        source,
        message_id,
        {%- for column in columns %}
        case
            when not {{ revetl.is_object_or_array(column.name) }} then {{ column.name }}
        end as {{ column.name }},
        {%- endfor %}
        timestamp
    from {{ name }}_as_text

)
{%- endmacro %}

{# Of the CTE `given` to the CTE `name`: values normalised and without blocked ones, and what the previous id of an alias
   was. Where `parts` are looked at, messages of the table `sighted` say of the others which anonymous ids there are. #}
{% macro normalised_identifiers(given, name, parts=none, sighted=none) %}
{%- set columns = revetl.identifier_columns(revetl.identity_rules()) %}
{%- set names = columns | map(attribute='name') | list %}
texts as (

    select
        source,
        message_id,
        {%- for column in columns %}
        cast({{ column.name }} as {{ revetl.type_of('varchar') }}) as {{ column.name }},
        {%- endfor %}
        timestamp
    from {{ given }}

),

trimmed as (

    select
        source,
        message_id,
        {%- for column in columns %}
        {{ revetl.trimmed(column.name) }} as {{ column.name }},
        {%- endfor %}
        timestamp
    from texts

),

normalised as (

    select
        source,
        message_id,
        {%- for column in columns %}
        {%- set plain = revetl.plain_identifier(column.name) %}
        {{ revetl.normalised_identifier(plain, column.normalise) }} as {{ column.name }},
        {%- endfor %}
        timestamp
    from trimmed

),

blocked_values as (

    select distinct
        cast(identifier_type as {{ revetl.type_of('varchar') }}) as identifier_type,
        cast(identifier_value as {{ revetl.type_of('varchar') }}) as identifier_value
    from {{ revetl.identity_list('blocked_identifiers') }}

),

unblocked as{{ revetl.read_in_part() }} (

    select
        normalised.source,
        normalised.message_id,
        {%- for column in columns %}
        case
            when
                blocked_{{ column.name }}.identifier_value is null
                and not {{ revetl.is_blocked('normalised.' ~ column.name, column.blocked) }}
                then {{ revetl.other_than_user_id(column.name, names) }}
        end as {{ column.name }},
        {%- endfor %}
        normalised.timestamp
    from normalised
    {{ revetl.joins_of_blocked(columns) }}

),

{% if 'previous_anonymous_id' in names -%}
previous as (

    select previous_anonymous_id
    from unblocked
    where previous_anonymous_id is not null

),

-- The previous id of an alias is a user id, unless it has been somebody's anonymous id. (By `in`, as a join
-- would have all messages' identifiers made where there is no alias.)
anonymous as (

    select distinct unblocked.anonymous_id
    from unblocked
    where unblocked.anonymous_id in (select previous.previous_anonymous_id from previous)
    {%- if parts is not none %}
    -- The other messages are as they were sighted.
    {{ revetl.union_distinct() }}
    select seen.anonymous_id
    from (
        {%- for side in ['left', 'right'] %}
        select
            source,
            message_id,
            timestamp,
            {{ side }}_value as anonymous_id
        from {{ sighted }}
        where
            {{ side }}_type = 'anonymous_id'
            and {{ side }}_value in (select previous.previous_anonymous_id from previous)
        {{ 'union all' if not loop.last }}
        {%- endfor %}
    ) as seen
    where {{ revetl.in_no_part('seen', parts) }}
    {%- endif %}

),

{{ name }} as (

    select
        unblocked.source,
        unblocked.message_id,
        {%- for column in columns if not column.name.startswith('previous') %}
        unblocked.{{ column.name }},
        {%- endfor %}
        case when anonymous.anonymous_id is null then unblocked.previous_user_id end as previous_user_id,
        anonymous.anonymous_id as previous_anonymous_id,
        unblocked.timestamp
    from unblocked
    left join anonymous
        on unblocked.previous_anonymous_id = anonymous.anonymous_id

)
{%- else -%}
{{ name }} as (

    select * from unblocked

)
{%- endif %}
{%- endmacro %}

{# Of the CTE `given` to the CTE `name`: pairs of identifiers, and the cuts. #}
{% macro pairs_of_identifiers(given, name) %}
{%- set rules = revetl.identity_rules() %}
{%- set columns = revetl.identifier_columns(rules) %}
{%- set names = rules.types | map(attribute='name') | list %}
centred as (

    select
        {{ given }}.*,
        case
            {%- for name in names %}
            when {{ name }} is not null then '{{ name }}'
            {%- endfor %}
        end as left_type,
        {{ revetl.first_of(names) }} as left_value,
        {{ revetl.count_of(columns | map(attribute='name')) }} as identifier_count
    from {{ given }}

),

-- The first of a message's pairs stands for the message where each message is counted once.
led as (

    select
        *,
        case
            when identifier_count = 1 then left_type
            {%- for column in columns %}
            when {{ column.name }} is not null and left_type <> '{{ column.name }}' then '{{ column.name }}'
            {%- endfor %}
        end as leader
    from centred
    where left_type is not null and timestamp is not null

),

identifier_names as (

    {% for column in columns -%}
    select
        '{{ column.name }}' as name,
        '{{ column.type }}' as type
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

paired as (

    select
        led.source,
        led.message_id,
        led.timestamp,
        led.left_type,
        led.left_value,
        identifier_names.type as right_type,
        case identifier_names.name
            {%- for column in columns %}
            when '{{ column.name }}' then led.{{ column.name }}
            {%- endfor %}
        end as right_value,
        {{ revetl.truth('identifier_names.name = led.leader') }} as is_leading
    from led
    cross join identifier_names
    where (identifier_names.name <> led.left_type) or (led.identifier_count = 1)

),

known as (

    select * from paired
    where right_value is not null

),

-- The columns of an empty seed have whatever type dbt guesses: text in dbt 1, whole numbers in dbt 2.
typed_cuts as (

    select
        {%- for column in ['left_type', 'left_value', 'right_type', 'right_value'] %}
        cast({{ column }} as {{ revetl.type_of('varchar') }}) as {{ column }},
        {%- endfor %}
        cast(cast(cut_at as {{ revetl.type_of('varchar') }}) as {{ revetl.type_of('timestamp') }}) as cut_at
    from {{ revetl.identity_list('cut_edges') }}

),

-- A cut says that two identifiers are not one person's.
cuts as (

    select
        'cut' as source,
        {{ revetl.hash_text(dbt.concat([
            'left_type', "':'", 'left_value', "' '", 'right_type', "':'", 'right_value'
        ])) }} as message_id,
        coalesce(min(cut_at), cast('1970-01-01' as {{ revetl.type_of('timestamp') }})) as timestamp,
        left_type,
        left_value,
        right_type,
        right_value,
        {{ revetl.truth('false') }} as is_leading
    from typed_cuts
    group by
        left_type,
        left_value,
        right_type,
        right_value

),

with_cuts as (

    select * from known
    union all
    select * from cuts

),

{{ name }} as (

    select
        *,
        {{ revetl.node_id('left_type', 'left_value') }} as left_node,
        {{ revetl.node_id('right_type', 'right_value') }} as right_node,
        {{ revetl.hash_columns([
            'source', 'message_id', 'timestamp', 'left_type', 'left_value', 'right_type', 'right_value',
            revetl.hashed_truth('is_leading')
        ]) }} as sighting_hash
    from with_cuts

)
{%- endmacro %}
