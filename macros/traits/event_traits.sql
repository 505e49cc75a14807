{# Traits of messages as a query, one row of `key`: over the CTE `events`, which has it beside the columns of
   `int_revetl__trait_events`. What most of them need is one aggregate of these; only elements of arrays, values and how often they are
   there, and funnels, go over them again. #}
{% macro trait_query(traits, key) %}
    {% set plain, of_elements = [], {} %}
    {% for trait in traits if trait.type not in revetl.value_trait_types() + ['funnel'] %}
        {% if trait.value and trait.value.element %}
            {% do of_elements.setdefault(trait.value.name, []).append(trait) %}
        {% else %}
            {% do plain.append(trait) %}
        {% endif %}
    {% endfor %}
    {% set valued = revetl.trait_values(traits) %}
    {% set funnels = traits | selectattr('type', 'equalto', 'funnel') | list %}
    {% set arrays = revetl.trait_arrays(traits) %}
    {# The CTEs that traits are columns of, by the traits' names. #}
    {% set places = {} %}
    {% for trait in plain %}
        {% do places.update({trait.name: 'people'}) %}
    {% endfor %}
    {% for array, found in of_elements.items() %}
        {% for trait in found %}
            {% do places.update({trait.name: array ~ '_people'}) %}
        {% endfor %}
    {% endfor %}
    {% for values in valued %}
        {% for trait in values.traits %}
            {% do places.update({trait.name: 'people_of_' ~ values.name}) %}
        {% endfor %}
    {% endfor %}
    {% for trait in funnels %}
        {% do places.update({trait.name: trait.name ~ '_people'}) %}
    {% endfor %}
people as (

    select
        {{ key }}
        {%- for trait in plain %},
        {{ revetl.trait_aggregate(trait, 'events') }} as {{ trait.name }}
        {%- endfor %}
    from events
    group by {{ key }}

)
    {%- for array, elements in arrays.items() %},

{{ array }}_elements as (

    select
        events.*,
        {%- for element in elements %}
        {{ revetl.read_as(element.kind, revetl.json_path_text(revetl.json_element('line'), element.path)) }}
            as {{ element.name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from ({{ revetl.trait_array_events(array, traits) }}) as events
    {{ revetl.join_json_elements('events.' ~ array ~ '_read', 'elements', 'line') }}

)
        {%- if array in of_elements %},

{{ array }}_people as (

    select
        {{ key }}
        {%- for trait in of_elements[array] %},
        {{ revetl.trait_aggregate(trait, array ~ '_elements') }} as {{ trait.name }}
        {%- endfor %}
    from {{ array }}_elements
    group by {{ key }}

)
        {%- endif %}
    {%- endfor %}
    {%- for values in valued %},

{{ revetl.value_traits_query(values, key) }}
    {%- endfor %}
    {%- for trait in funnels %},

{{ revetl.funnel_query(trait, key) }}
    {%- endfor %},

together as (

    select
        people.{{ key }}
        {%- for trait in traits %},
        {{ revetl.trait_made(trait, places[trait.name] ~ '.' ~ trait.name, is_joined=places[trait.name] != 'people') }} as {{ trait.name }}
        {%- endfor %},
        {%- set unfit = {} %}
        {%- for trait in traits if revetl.may_be_unfit(trait) %}
        {%- set column = places[trait.name] ~ '.' ~ trait.name %}
        {%- do unfit.update({trait.name: column ~ ' is not null and ' ~ revetl.fitted(trait, column) ~ ' is null'}) %}
        {%- endfor %}
        {{ revetl.unfit_names(unfit) }} as unfit_traits
    from people
    {%- for place in places.values() | unique if place != 'people' %}
    left join {{ place }}
        on people.{{ key }} = {{ place }}.{{ key }}
    {%- endfor %}

)
{% endmacro %}

{# The arrays that traits read elements of: column of `int_revetl__trait_events` to what they read of each element. #}
{% macro trait_arrays(traits) %}
    {% set arrays = {} %}
    {% for trait in traits if trait.value and trait.value.element %}
        {% set elements = arrays.setdefault(trait.value.name, []) %}
        {% for place in revetl.trait_places(trait) if place.element and place.element not in elements %}
            {% do elements.append(place.element) %}
        {% endfor %}
    {% endfor %}
    {{ return(arrays) }}
{% endmacro %}

{# The events that have such an array, and it as JSON. #}
{% macro trait_array_events(array, traits) %}
    select
        events.*,
        {{ revetl.as_json(dbt.concat(["'{\"elements\":'", 'events.' ~ array, "'}'"])) }} as {{ array }}_read
    from events
    where events.{{ array }} is not null
{% endmacro %}

{# A trait as an aggregate of rows, which is yet to be of the trait's type. #}
{% macro trait_aggregate(trait, rows) %}
    {% set filter = revetl.trait_filter(trait, rows) %}
    {% set moment = 'case when ' ~ filter ~ ' then ' ~ rows ~ '.timestamp end' %}
    {% set place = (trait.value.element or trait.value) if trait.value else none %}
    {% set value = 'case when ' ~ filter ~ ' then ' ~ rows ~ '.' ~ (place.name if place else 'timestamp') ~ ' end' %}
    {% set type = trait.type %}
    {% if type == 'count' %}
        {{ return('count(case when ' ~ filter ~ ' then 1 end)') }}
    {% elif type == 'has_done' %}
        {{ return(revetl.truth('count(case when ' ~ filter ~ ' then 1 end) > 0')) }}
    {% elif type == 'sum' %}
        {{ return('sum(' ~ value ~ ')') }}
    {% elif type == 'avg' %}
        {{ return(revetl.ratio('sum(' ~ value ~ ')', 'nullif(count(' ~ value ~ '), 0)')) }}
    {% elif type in ['min', 'max'] %}
        {% set is_text = trait.data_type.startswith('varchar') %}
        {% set least = revetl.min_text(value) if type == 'min' else revetl.max_text(value) %}
        {{ return(least if is_text else type ~ '(' ~ value ~ ')') }}
    {% elif type == 'percentile' %}
        {{ return(revetl.percentile(value, trait.percentile)) }}
    {% elif type in ['first', 'last'] %}
        {% set by = revetl.first_value_by if type == 'first' else revetl.last_value_by %}
        {{ return(by(value, rows ~ '.timestamp', rows ~ '.message_id') | trim) }}
    {% elif type == 'first_at' %}
        {{ return('min(' ~ moment ~ ')') }}
    {% elif type in ['last_at', 'days_since'] %}
        {{ return('max(' ~ moment ~ ')') }}
    {% endif %}
    {# The mean gap is the whole time over the number of gaps. #}
    {% set days = revetl.days_between('min(' ~ moment ~ ')', 'max(' ~ moment ~ ')') | trim %}
    {{ return(days ~ ' / nullif(count(' ~ moment ~ ') - 1, 0)') }}
{% endmacro %}

{# A trait, or what it is of somebody of whom it is not known. #}
{% macro trait_default(trait, value) %}
    {% if trait.default is none %}
        {{ return(value) }}
    {% elif trait.data_type == 'boolean' %}
        {{ return('coalesce(' ~ value ~ ', ' ~ revetl.truth(trait.default) ~ ')') }}
    {% endif %}
    {{ return('cast(coalesce(' ~ value ~ ', ' ~ trait.default ~ ') as ' ~ revetl.type_of(trait.data_type) ~ ')') }}
{% endmacro %}

{# What a trait's aggregate is: `text`, `number`, `time` or `double`; none where it is of the trait's type already. #}
{% macro trait_kind(trait) %}
    {% if trait.type in ['first', 'last', 'most_frequent'] %}
        {{ return('text') }}
    {% elif trait.type in ['avg', 'percentile', 'days_between'] %}
        {{ return('double') }}
    {% elif trait.type == 'sum' %}
        {{ return('number') }}
    {% endif %}
    {{ return((trait.value.element or trait.value).kind if trait.type in ['min', 'max'] else none) }}
{% endmacro %}

{# Whether an aggregate may not fit the trait's type. #}
{% macro may_be_unfit(trait) %}
    {{ return(revetl.trait_kind(trait) is not none and trait.data_type not in ['varchar', 'double', 'boolean']) }}
{% endmacro %}

{# A trait's aggregate as the trait's type, or what the trait is of somebody who has nothing that it is made of: what does
   not fit the type is null, of nobody else. `is_joined`: the person may have no row of it. #}
{% macro trait_made(trait, value, is_joined=false) %}
    {% set made = revetl.fitted(trait, value) %}
    {% if trait.default is none or not (is_joined or trait.type == 'sum') %}
        {{ return(made) }}
    {% elif not revetl.may_be_unfit(trait) %}
        {{ return(revetl.trait_default(trait, made)) }}
    {% endif %}
    {{ return('case when ' ~ value ~ ' is null then cast(' ~ trait.default ~ ' as ' ~ revetl.type_of(trait.data_type)
        ~ ') else ' ~ made ~ ' end') }}
{% endmacro %}

{# A trait's aggregate as the trait's type; null where it does not fit. #}
{% macro fitted(trait, value) %}
    {% set kind = revetl.trait_kind(trait) %}
    {% set found = modules.re.match('decimal\\( *([0-9]+) *, *([0-9]+) *\\)', trait.data_type) %}
    {% if kind is none and trait.data_type == 'date' %}
        {{ return('cast(' ~ value ~ ' as ' ~ revetl.type_of('date') ~ ')') }}
    {% elif kind is none or (kind == 'text' and trait.data_type == 'varchar') %}
        {{ return(value) }}
    {% elif kind == 'text' and trait.data_type == 'boolean' %}
        {{ return('case ' ~ value ~ " when 'true' then " ~ revetl.truth('true') ~ " when 'false' then "
            ~ revetl.truth('false') ~ ' end') }}
    {% elif kind == 'text' and trait.data_type == 'timestamp' %}
        {{ return(revetl.time_of(value) | trim) }}
    {% elif kind == 'text' and trait.data_type == 'date' %}
        {{ return('cast(' ~ revetl.time_of(value) | trim ~ ' as ' ~ revetl.type_of('date') ~ ')') }}
    {% elif kind == 'text' and trait.data_type == 'json' %}
        {{ return(revetl.json_if_valid(value) | trim) }}
    {% elif kind == 'double' and found %}
        {% set digits, scale = found.group(1) | int, found.group(2) | int %}
        {{ return(revetl.value_if(
            revetl.is_within(value, digits, scale), revetl.as_decimal(value, digits, scale) | trim, trait.data_type)) }}
    {% endif %}
    {{ return(revetl.safe_cast(revetl.decimal_of(value) | trim if kind == 'text' else value, trait.data_type) | trim) }}
{% endmacro %}

{# Names by the conditions of which they are true, as a text such as `spent,refunded`; null where none is. `before` is a
   text of such names. #}
{% macro unfit_names(conditions, before=none) %}
    {% set varchar = revetl.type_of('varchar') %}
    {% set parts = [] %}
    {% if before %}
        {% set parts = ['case when ' ~ before ~ ' is not null then ' ~ dbt.concat(["','", before]) | trim ~ " else '' end"] %}
    {% endif %}
    {% for name, condition in conditions.items() %}
        {% do parts.append('case when ' ~ condition ~ " then '," ~ name ~ "' else '' end") %}
    {% endfor %}
    {% if not parts %}
        {{ return('cast(null as ' ~ varchar ~ ')') }}
    {% endif %}
    {% set joined = parts[0] if parts | length == 1 else dbt.concat(parts) | trim %}
    {{ return('cast(nullif(' ~ revetl.text_from(joined, 2) | trim ~ ", '') as " ~ varchar ~ ')') }}
{% endmacro %}

{# Whether a name is among such names. #}
{% macro is_among(name, names) %}
    {{ return('(' ~ names ~ ' is not null and ' ~ revetl.contains(dbt.concat(["','", names, "','"]) | trim, ',' ~ name ~ ',')
        ~ ')') }}
{% endmacro %}
