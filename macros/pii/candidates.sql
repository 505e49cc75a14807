{# The query of what may be an email, a phone number or a payment card in the newest `newest` messages of each type: by type,
   document and path, how many messages have one of each, out of how many, and some of the values. Members of objects are
   looked at to the third level; what is deeper, and what is in an array, is told by the path that leads to it. #}
{% macro pii_candidates(newest, examples=50) -%}
    {% set email = '[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+([.][A-Za-z0-9-]+)*[.][A-Za-z][A-Za-z]+' -%}
    {% set phone = '(^|[^0-9])[+][0-9][0-9 ().-]{6,18}[0-9]|^[(]?[0-9][0-9 ().-]{6,18}[0-9]$' -%}
    {% set card = '[0-9]([ -]?[0-9]){12,18}' -%}
    {% set tables = {
        'track': ('tracks', 'properties'),
        'identify': ('identifies', 'traits'),
        'page': ('pages', 'properties'),
        'screen': ('screens', 'properties'),
        'group': ('groups', 'traits'),
        'alias': ('aliases', none),
    } -%}
with messages as (

    {% for type, (table, document) in tables.items() -%}
    select
        '{{ type }}' as message_type,
        id as message_id,
        {{ "'" ~ document ~ "'" if document else 'cast(null as ' ~ revetl.type_of('varchar') ~ ')' }} as document_name,
        {{ revetl.json_value_text(document, []) if document else 'cast(null as ' ~ revetl.type_of('varchar') ~ ')' }} as document_text,
        {{ revetl.json_value_text('context', []) }} as context_text,
        row_number() over (order by received_at desc, id) as place
    from {{ revetl.raw_messages(table, [document] if document else []) }}
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

newest as (

    select * from messages
    where place <= {{ newest | int }}

),

message_counts as (

    select
        message_type,
        count(distinct message_id) as message_count
    from newest
    group by message_type

),

level_0 as (

    select
        message_type,
        message_id,
        document_name,
        '' as path,
        document_text as value_text
    from newest
    where document_name is not null
    union all
    select
        message_type,
        message_id,
        'context' as document_name,
        '' as path,
        context_text as value_text
    from newest

),

    {% for level in range(3) %}
level_{{ level + 1 }} as (

    select
        objects.message_type,
        objects.message_id,
        objects.document_name,
        {{ dbt.concat(['objects.path', "'.'", revetl.json_member_name('member')]) }} as path,
        {{ revetl.json_member_text('objects.value_text', 'member') }} as value_text
    from (
        select * from level_{{ level }}
        where {{ revetl.is_json('value_text', 'object') }}
    ) as objects
    {{ revetl.join_json_members('objects.value_text', 'member') }}

),
    {% endfor %}

leaves as (

    {% for level in [1, 2, 3] -%}
    select * from level_{{ level }}
    {{ 'where not ' ~ revetl.is_json('value_text', 'object') if level < 3 }}
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

texts as (

    select
        message_type,
        message_id,
        document_name,
        path,
        case
            when {{ revetl.is_json('value_text', 'string') }} then {{ revetl.json_string('value_text') }}
            else value_text
        end as value
    from leaves

),

judged as (

    select
        texts.*,
        case when {{ revetl.matches('value', email) }} then 1 else 0 end as is_email,
        case when {{ revetl.matches('value', phone) }} then 1 else 0 end as is_phone,
        case when {{ revetl.matches('value', card) }} then 1 else 0 end as is_card
    from texts

),

candidates as (

    select
        judged.*,
        row_number() over (
            partition by message_type, document_name, path, is_email, is_phone, is_card
            order by message_id
        ) as place
    from judged
    where is_email + is_phone + is_card > 0

),

counts as (

    select
        message_type,
        document_name,
        path,
        count(distinct case when is_email = 1 then message_id end) as email_count,
        count(distinct case when is_phone = 1 then message_id end) as phone_count,
        count(distinct case when is_card = 1 then message_id end) as card_count
    from candidates
    group by
        message_type,
        document_name,
        path

),

told as (

    select
        counts.message_type,
        counts.document_name,
        counts.path,
        counts.email_count,
        counts.phone_count,
        counts.card_count,
        message_counts.message_count,
        left(candidates.value, 500) as value
    from counts
    inner join candidates
        on
            counts.message_type = candidates.message_type
            and counts.document_name = candidates.document_name
            and counts.path = candidates.path
    inner join message_counts
        on counts.message_type = message_counts.message_type
    where candidates.place <= {{ examples | int }}

)

select * from told
{%- endmacro %}
